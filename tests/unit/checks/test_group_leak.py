"""The leak within classes and groups: right figures, honest intervals, what a note names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from safecompress.attacks import ATTACKS
from safecompress.checks import (
    Check,
    GroupFinding,
    GroupLeak,
    Status,
    Subject,
    at_most,
    group_clause,
)
from safecompress.checks.group_findings import FEWEST, findings_of
from safecompress.checks.measures import measure_from
from safecompress.errors import MissingEvidenceError, UndecidableError
from safecompress.protocols import AttackResult, GroupColumn, Outputs, Pool
from safecompress.stats import auc, clopper_pearson
from tests.attack_results import groups, result
from tests.support import count


def surest(found: AttackResult, level: float = 0.95) -> tuple[GroupFinding, ...]:
    names = tuple(map(str, range(found.classes)))
    columns = found.labels.map(lambda y: GroupColumn(y, names))
    return findings_of([found], columns, by="class", level=level).surest


def subject(
    n: int, *, shares: list[float], leaking: float = 0.0, seed: int = 0, names: tuple[str, ...] = ()
) -> Subject:
    """Return a model in which the rarest class has logits higher by `leaking` for its members."""
    draw = np.random.default_rng(seed)
    rarest = int(np.argmin(shares))

    def side(member: bool, first: int) -> Outputs:
        labels = draw.choice(len(shares), n, p=shares)
        logits = draw.normal(size=(n, len(shares)))
        logits[np.arange(n), labels] += 2 + leaking * (member & (labels == rarest))
        return Outputs(
            torch.tensor(logits, dtype=torch.float32), torch.tensor(labels), first + torch.arange(n)
        )

    pool = Pool(side(True, 0), side(False, n))
    return Subject.of(pool, name="x", density=None, seed=seed, class_names=names)


def class_leak(*attacks: str, limit: float | None = None) -> GroupLeak:
    return GroupLeak(tuple(ATTACKS.build(a, where="test") for a in attacks), limit=limit)


@pytest.mark.parametrize("judged", [False, True])
def test_the_class_that_leaks_comes_first(judged: bool) -> None:
    scores, labels = groups(2000, classes=5, leaking=3, seed=0)
    found = surest(result(scores, labels, classes=5, judged=judged))
    assert found[0].code == 3
    assert found[0].low > 0.8
    assert all(s.low == 0.5 for s in found[1:])


@given(st.integers(0, 10_000), st.sampled_from([-2.0, 0.0, 1.0]))
def test_a_figure_is_the_attack_on_the_rows_of_its_class(seed: int, shift: float) -> None:
    scores, labels = groups(200, classes=3, leaking=1, seed=seed)
    scores = replace(scores, members=scores.members + shift * (labels.members == 0))
    found = surest(result(scores, labels, classes=3))
    assert {s.code for s in found} == {0, 1, 2}
    for s in found:
        own = scores.zip(labels, lambda x, y: x[y == s.code].numpy())  # noqa: B023
        truth = np.r_[np.ones(len(own.members)), np.zeros(len(own.nonmembers))]
        area = roc_auc_score(truth, np.r_[own.members, own.nonmembers])
        assert s.auc == pytest.approx(max(area, 1 - area))
        assert (s.members, s.nonmembers) == (len(own.members), len(own.nonmembers))
        assert s.low <= s.auc <= s.high


def test_a_class_with_few_rows_is_named_and_not_measured() -> None:
    labels = Pool(torch.tensor([0] * 40 + [1] * (FEWEST - 1)), torch.tensor([0] * 40 + [1] * 40))
    scores = labels.map(lambda y: torch.arange(len(y), dtype=torch.float64))
    columns = labels.map(lambda y: GroupColumn(y, ("stayed", "left")))
    found = findings_of([result(scores, labels, classes=2)], columns, by="class", level=0.95)
    assert [s.name for s in found.surest] == ["stayed"]
    assert found.small == ("left (9, 40)",)


def test_no_class_is_accused_where_none_leaks() -> None:
    """All classes together cry wolf in at most one verdict in twenty."""
    audits, alarms = count(40, 1000), 0
    for seed in range(audits):
        scores, labels = groups(400, classes=8, leaking=None, seed=seed)
        alarms += any(s.low > 0.5 for s in surest(result(scores, labels, classes=8)))
    assert clopper_pearson(alarms, audits, level=0.99).low <= 0.05


@pytest.mark.parametrize("classes", [2, 5, 50])
@pytest.mark.parametrize("share", [0.02, 0.06, 0.12])
def test_a_rare_class_that_leaks_wholly_fails(classes: int, share: float) -> None:
    if share >= 1 / classes:
        share = 0.5 / classes
    n = max(2000, round(60 / share))
    shares = [share, *[(1 - share) / (classes - 1)] * (classes - 1)]
    measure = class_leak("loss", "modified-entropy", "neural", limit=0.6)
    check = Check("class", measure, at_most(0.6), decisive=False)
    model = subject(n, shares=shares, leaking=9.0, names=("rare",))
    found = check.run(model, None, level=0.95)
    assert found.status is Status.FAIL
    assert found.attack in {"loss", "modified-entropy"}
    assert "worst in class rare: AUC" in found.message
    overall = model.attacked_by(measure.attacks[0]).scores
    assert auc(overall.members, overall.nonmembers) < 0.6


def test_groups_that_are_not_settled_warn_and_are_named() -> None:
    model = subject(300, shares=[0.9, 0.1], names=("stays", "leaves"))
    measure = class_leak("loss", limit=0.6)
    loose = Check("class", measure, at_most(0.6), decisive=False).run(model, None, level=0.95)
    assert (loose.status, loose.decided) == (Status.WARN, False)
    assert "too few rows to settle: class leaves" in loose.message
    assert loose.estimate is not None
    assert f"worst in {loose.estimate.group}:" in loose.message
    strict = Check("class", measure, at_most(0.6)).run(model, None, level=0.95)
    assert (strict.status, strict.decided) == (Status.INCONCLUSIVE, False)


def test_the_interval_covers_every_group_and_attack() -> None:
    model = subject(800, shares=[0.5, 0.3, 0.2])
    measure = class_leak("loss", "neural")
    found = measure.findings(model, level=0.9)
    estimate = measure.estimate(model, level=0.9)
    assert len(found.cells) == 6
    assert estimate.low == max(c.low for c in found.cells)
    assert estimate.high == max(c.high for c in found.cells)
    alone = class_leak("loss").findings(model, level=0.9)
    same = [c for c in found.cells if c.attack == "loss"]
    for one, other in zip(alone.cells, same, strict=True):
        assert one.auc == other.auc
        assert other.high - other.low > one.high - one.low


def test_more_leak_than_the_dense_model_is_told_by_class() -> None:
    dense = subject(2000, shares=[0.95, 0.05], seed=3)
    worse = subject(2000, shares=[0.95, 0.05], seed=3, leaking=9.0)
    gap = class_leak("loss", "gap").difference(worse, dense, level=0.95)
    assert gap.low > 0.2
    assert "class 1" in gap.note
    assert class_leak("loss").difference(dense, dense, level=0.95).value == 0


def test_a_column_that_is_not_there_is_missing_evidence() -> None:
    measure = measure_from({"group": {"by": "region"}}, where="test")
    with pytest.raises(MissingEvidenceError, match=r"'region' are not known .known: none"):
        measure.estimate(subject(100, shares=[0.5, 0.5]), level=0.95)


def test_no_group_of_enough_rows_cannot_be_decided() -> None:
    model = subject(40, shares=[1 / 20] * 20)
    with pytest.raises(UndecidableError, match="no group has 10 members"):
        class_leak("loss").estimate(model, level=0.95)


def test_the_clause_names_a_group_that_stands_out_and_no_other() -> None:
    worst = GroupFinding("region", "west", 2, "loss", 0.7, 0.61, 0.78, 90, 95)
    assert group_clause(worst) == "Worst in region west: AUC .700 [.610, .780]"
    assert group_clause(replace(worst, low=0.5)) == group_clause(None) == ""
