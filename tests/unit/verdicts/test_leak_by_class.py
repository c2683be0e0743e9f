"""The leak by class, and what an accusation is worth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from safecompress.protocols import AttackResult, Pool
from safecompress.randomness import generator
from safecompress.stats import auc, clopper_pearson
from safecompress.verdicts.leak_by_class import FEWEST, accusations, by_class
from tests.support import count


def result(
    scores: Pool[Tensor], labels: Pool[Tensor], *, classes: int, judged: bool = False
) -> AttackResult:
    """Return an attack's result; `judged` cuts the scores to the half that is judged."""
    halves = scores.map(lambda s: torch.arange(len(s)) % 2 == 0)
    half = scores.zip(halves, lambda s, mask: s[~mask])
    return AttackResult(
        attack="imagined",
        scores=half if judged else scores,
        ids=scores.map(lambda s: torch.arange(len(s))),
        known=scores.zip(halves, lambda s, mask: s[mask]),
        judged=half,
        labels=labels,
        halves=halves,
        classes=classes,
        knowledge="auditor",
        seconds=0.0,
    )


def groups(
    n: int, *, classes: int, leaking: int | None, seed: int
) -> tuple[Pool[Tensor], Pool[Tensor]]:
    source = generator(seed, "slices")

    def group(shift: float) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (n,), generator=source)
        scores = torch.randn(n, generator=source, dtype=torch.float64)
        return scores + shift * (labels == (-1 if leaking is None else leaking)), labels

    (inside, first), (outside, second) = group(2.0), group(0.0)
    return Pool(inside, outside), Pool(first, second)


@pytest.mark.parametrize("judged", [False, True])
def test_the_class_that_leaks_comes_first(judged: bool) -> None:
    scores, labels = groups(2000, classes=5, leaking=3, seed=0)
    found = by_class(result(scores, labels, classes=5, judged=judged), level=0.95)
    assert found[0].label == 3
    assert found[0].low > 0.8
    assert all(s.low < 0.5 for s in found[1:])


def test_a_slice_is_the_attack_on_the_rows_of_its_class() -> None:
    scores, labels = groups(300, classes=3, leaking=1, seed=1)
    for s in by_class(result(scores, labels, classes=3), level=0.95):
        of_class = scores.zip(labels, lambda x, y: x[y == s.label])  # noqa: B023
        assert s.auc == auc(of_class.members, of_class.nonmembers)
        assert (s.members, s.nonmembers) == (len(of_class.members), len(of_class.nonmembers))


def test_a_class_with_few_rows_is_left_out() -> None:
    labels = Pool(torch.tensor([0] * 40 + [1] * (FEWEST - 1)), torch.tensor([0] * 40 + [1] * 40))
    scores = labels.map(lambda y: torch.arange(len(y), dtype=torch.float64))
    assert [s.label for s in by_class(result(scores, labels, classes=2), level=0.95)] == [0]


def test_no_class_is_accused_where_none_leaks() -> None:
    """All classes together cry wolf in at most one verdict in twenty."""
    audits, alarms = count(40, 1000), 0
    for seed in range(audits):
        scores, labels = groups(400, classes=8, leaking=None, seed=seed)
        found = by_class(result(scores, labels, classes=8), level=0.95)
        alarms += any(s.low > 0.5 or s.high < 0.5 for s in found)
    assert clopper_pearson(alarms, audits, level=0.99).low <= 0.05


def test_the_worth_of_an_accusation_falls_with_the_prior() -> None:
    scores, labels = groups(2000, classes=1, leaking=0, seed=2)
    rare, frequent = accusations(result(scores, labels, classes=1))
    assert (rare.prior, frequent.prior) == (0.01, 0.1)
    assert rare.tpr == frequent.tpr
    for each in (rare, frequent):
        caught = each.prior * each.tpr
        accused = caught + (1 - each.prior) * each.fpr
        assert each.precision == pytest.approx(caught / accused)
    assert rare.precision < frequent.precision


def test_too_few_rows_carry_no_such_rate() -> None:
    scores, labels = groups(50, classes=1, leaking=0, seed=3)
    assert accusations(result(scores, labels, classes=1)) == ()
