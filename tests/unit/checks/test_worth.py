"""What a model is worth by class: the figures of scikit-learn, honest intervals, lost classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from safecompress.checks import (
    WORTH,
    Measure,
    Status,
    Subject,
    at_least_dense,
)
from safecompress.checks.by_class import majority_clause, worth_checks
from safecompress.checks.measures import measure_from
from safecompress.errors import UndecidableError
from safecompress.protocols import Outputs, Pool
from safecompress.stats import clopper_pearson
from tests.support import count

MEASURES = ("balanced-accuracy", "macro-f1", "worst-class-recall", "gain-over-majority")


def model(labels: np.ndarray, predicted: np.ndarray, *, names: tuple[str, ...] = ()) -> Subject:
    """Return a model that answers as given, on rows that serve as non-members and as members."""
    classes = int(max(labels.max(), predicted.max())) + 1
    logits = torch.nn.functional.one_hot(torch.tensor(predicted), max(classes, 2)).float()
    n = len(labels)
    both = [Outputs(logits, torch.tensor(labels), torch.arange(i * n, (i + 1) * n)) for i in (0, 1)]
    return Subject.of(Pool(*both), name="x", density=None, seed=0, class_names=names)


def answers(
    seed: int, *, n: int, shares: list[float], recall: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.choice(len(shares), n, p=shares)
    right = draw.random(n) < np.array(recall)[labels]
    wrong = (labels + draw.integers(1, len(shares), n)) % len(shares)
    return labels, np.where(right, labels, wrong)


def measure(name: str) -> Measure:
    return measure_from(name, where="test")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=80),
)
def test_figures_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(rows).T
    subject = model(labels, predicted)
    here = np.unique(labels)
    recalls = recall_score(labels, predicted, labels=here, average=None)
    balanced = measure("balanced-accuracy").estimate(subject, level=0.95).value
    assert balanced == pytest.approx(recalls.mean())
    if set(predicted) <= set(labels) and len(here) > 1:
        assert balanced == pytest.approx(balanced_accuracy_score(labels, predicted))
    f1 = f1_score(labels, predicted, average="macro", zero_division=0)
    assert measure("macro-f1").estimate(subject, level=0.95).value == pytest.approx(f1)
    gain = measure("gain-over-majority").estimate(subject, level=0.95).value
    share = np.bincount(labels).max() / len(labels)
    assert gain == pytest.approx((labels == predicted).mean() - share)
    enough = [r for c, r in zip(here, recalls, strict=True) if (labels == c).sum() >= 10]
    if enough:
        worst = measure("worst-class-recall").estimate(subject, level=0.95).value
        assert worst == pytest.approx(min(enough))
    outputs = subject.outputs.nonmembers
    assert WORTH["macro-f1"](outputs) == pytest.approx(f1)
    assert WORTH["balanced-accuracy"](outputs) == pytest.approx(recalls.mean())


@pytest.mark.parametrize("name", MEASURES)
def test_differences_are_those_of_the_figures(name: str) -> None:
    labels, first = answers(0, n=400, shares=[0.6, 0.3, 0.1], recall=[0.9, 0.8, 0.6])
    second = answers(1, n=400, shares=[0.6, 0.3, 0.1], recall=[0.9, 0.8, 0.6])[1]
    a, b = model(labels, first), model(labels, second)
    gap = measure(name).difference(a, b, level=0.95)
    assert gap.low <= gap.value <= gap.high
    if name == "worst-class-recall":
        lost = np.subtract(*(recall_score(labels, p, average=None) for p in (first, second)))
        assert min(abs(lost - gap.value)) < 1e-12
        assert gap.low <= min(lost)
        return
    values = [measure(name).estimate(m, level=0.95).value for m in (a, b)]
    assert gap.value == pytest.approx(values[0] - values[1])


TRUTHS = {
    "balanced-accuracy": lambda recall: float(np.mean(recall)),
    "worst-class-recall": lambda recall: float(np.min(recall)),
}


@pytest.mark.parametrize("name", sorted(TRUTHS))
@pytest.mark.parametrize("recall", [[0.95, 0.7], [0.99, 0.9, 0.5], [1.0, 1.0, 1.0, 0.98]])
def test_intervals_cover_what_is_true(name: str, recall: list[float]) -> None:
    draws, missed = count(60, 1000), 0
    rest = len(recall) - 1
    shares = [*[0.94 / rest] * rest, 0.06]
    for seed in range(draws):
        labels, predicted = answers(seed, n=600, shares=shares, recall=recall)
        found = measure(name).estimate(model(labels, predicted), level=0.95)
        missed += not found.low <= TRUTHS[name](recall) <= found.high
    assert clopper_pearson(missed, draws, level=0.999).low <= 0.05


def test_the_interval_of_macro_f1_covers_that_of_many_rows() -> None:
    shares, recall = [0.6, 0.34, 0.06], [0.95, 0.9, 0.6]
    labels, predicted = answers(0, n=400_000, shares=shares, recall=recall)
    truth = f1_score(labels, predicted, average="macro")
    draws, missed = count(40, 500), 0
    for seed in range(1, draws + 1):
        subject = model(*answers(seed, n=500, shares=shares, recall=recall))
        found = measure("macro-f1").estimate(subject, level=0.95)
        missed += not found.low <= truth <= found.high
    assert clopper_pearson(missed, draws, level=0.999).low <= 0.05


def test_a_model_that_is_always_right_has_intervals_with_a_width() -> None:
    labels = np.arange(90) % 3
    subject = model(labels, labels)
    for name in ("balanced-accuracy", "macro-f1", "worst-class-recall"):
        found = measure(name).estimate(subject, level=0.95)
        assert found.value == found.high == 1
        assert 0.5 < found.low < 0.99
        gap = measure(name).difference(subject, subject, level=0.95)
        assert gap.low < 0 == gap.value < gap.high


def judged(labels: np.ndarray, predicted: np.ndarray, dense: np.ndarray) -> dict[str, Status]:
    names = ("no", "yes")
    subject, before = model(labels, predicted, names=names), model(labels, dense, names=names)
    return {
        c.measure.name: c.run(subject, before, level=0.95).status
        for c in worth_checks(relative=True)
    }


@pytest.mark.parametrize("n", [2000, 5000])
def test_a_class_that_compression_loses_fails(n: int) -> None:
    """Of 6 % churners the dense model finds .64 and the compressed one .13; accuracy rises."""
    shares = [0.94, 0.06]
    labels, dense = answers(0, n=n, shares=shares, recall=[0.93, 0.64])
    draw = np.random.default_rng(2)
    compressed = np.where(draw.random(n) < np.where(labels == 1, 0.13, 0.995), labels, 1 - labels)
    assert (compressed == labels).mean() > (dense == labels).mean()
    found = judged(labels, compressed, dense)
    assert found["balanced-accuracy"] is Status.FAIL
    assert found["worst-class-recall"] is Status.FAIL


def test_one_answer_for_all_rows_fails_and_is_told() -> None:
    labels, dense = answers(0, n=3000, shares=[0.94, 0.06], recall=[0.99, 0.6])
    constant = np.zeros_like(labels)
    found = judged(labels, constant, dense)
    assert found["balanced-accuracy"] is found["worst-class-recall"] is Status.FAIL
    assert found["gain-over-majority"] is Status.WARN
    (alone,) = worth_checks(relative=False)
    said = alone.run(model(labels, constant, names=("no", "yes")), None, level=0.95)
    assert said.status is Status.WARN
    assert "no better than one answer for all rows" in said.message
    assert "always answering class no" in said.message
    assert majority_clause([said]).startswith("The model is no better than one answer for all rows")


def test_a_model_that_may_be_better_than_one_answer_is_not_told_to_be_worse() -> None:
    labels, predicted = answers(0, n=60, shares=[0.9, 0.1], recall=[1.0, 0.5])
    (alone,) = worth_checks(relative=False)
    said = alone.run(model(labels, predicted), None, level=0.95)
    assert (said.status, said.decided) == (Status.WARN, False)
    assert "too few rows to tell whether it is better" in said.message
    assert majority_clause([said]) == ""


def test_the_same_model_keeps_its_classes() -> None:
    labels, dense = answers(0, n=6000, shares=[0.7, 0.2, 0.1], recall=[0.95, 0.8, 0.7])
    found = judged(labels, dense, dense)
    assert set(found.values()) == {Status.PASS}


def test_a_rare_class_that_cannot_be_settled_is_a_warning_that_names_it() -> None:
    labels, dense = answers(0, n=300, shares=[0.94, 0.06], recall=[0.99, 0.6])
    check = next(c for c in worth_checks(relative=True) if c.measure.name == "worst-class-recall")
    subject = model(labels, dense, names=("no", "yes"))
    found = check.run(subject, subject, level=0.95)
    assert (found.status, found.decided) == (Status.WARN, False)
    assert "class yes" in found.message
    assert check.condition == at_least_dense(-0.10)


def test_classes_of_few_rows_are_left_out_and_named() -> None:
    labels = np.array([0] * 50 + [1] * 3)
    found = measure("worst-class-recall").estimate(
        model(labels, np.zeros_like(labels), names=("a", "b")), level=0.95
    )
    assert found.value == 1
    assert "too few rows to judge: class b (3)" in found.note
    with pytest.raises(UndecidableError, match="no class has 10 rows"):
        measure("worst-class-recall").estimate(model(labels[48:], labels[48:]), level=0.95)
