"""Blind spots: a kind of attack that had no part in a choice and finds clearly more than others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from safecompress.attacks import ATTACKS
from safecompress.checks import (
    AttackMeasure,
    Check,
    Status,
    Subject,
    Suite,
    at_most,
    corrected_level,
)
from safecompress.checks.blind_spot import NAME, blind_spot, leaks_by_signals
from safecompress.protocols import SIGNALS, Attack, Evidence, Outputs, Pool
from safecompress.stats import auc, auc_difference
from safecompress.verdicts.verdict import find

LEVEL = 0.95


@dataclass(frozen=True)
class Column(Attack):
    """Scores a row by one of its logits, which stand for what an attack of some kind reads."""

    signals: ClassVar[str] = "label"

    column: int = 0
    sign: int = 1

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"column-{self.column}"

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        return self.sign * evidence.outputs.logits[:, self.column].double()


@dataclass(frozen=True)
class Other(Column):
    signals: ClassVar[str] = "vector"


@dataclass(frozen=True)
class Learned(Other):
    learns: ClassVar[bool] = True


@dataclass(frozen=True)
class Failing(Other):
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        raise ValueError("nothing works")


def subject(*shifts: float, n: int = 1500, seed: int = 0) -> Subject:
    """Return a subject whose members' logits are shifted, column by column."""
    draw = torch.Generator().manual_seed(seed)

    def outputs(first: int, by: float) -> Outputs:
        logits = torch.randn(n, len(shifts), generator=draw) + by * torch.tensor(shifts)
        return Outputs(logits, torch.arange(n) % len(shifts), torch.arange(first, first + n))

    return Subject.of(Pool(outputs(0, 1.0), outputs(n, 0.0)), name="x", density=None, seed=0)


def found(model: Subject, *attacks: Attack, steered: str = "label") -> Any:
    kinds = frozenset(steered.split()) if steered else frozenset()
    return blind_spot(leaks_by_signals(model, attacks, steered=kinds, level=LEVEL), level=LEVEL)


def test_every_attack_declares_a_kind_of_signal() -> None:
    kinds = {ATTACKS.build(name, where="t").signals for name in ATTACKS.parts}
    assert kinds == set(SIGNALS)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("other", [Other, Learned])
def test_a_kind_that_finds_clearly_more_than_what_steered_is_a_blind_spot(
    other: type[Other], sign: int
) -> None:
    model = subject(0.1, 0.9 * sign)
    result = found(model, Column(), other(1))
    assert result.status is Status.WARN
    assert not result.critical
    assert result.attack == "column-1"
    assert "'vector'" in result.advice
    scored = model.attacked_by(other(1))
    same = {}  # the rows that both attacks scored
    for group in ("members", "nonmembers"):
        outputs = getattr(model.outputs, group)
        ids, scores = getattr(scored.ids, group).tolist(), getattr(scored.scores, group).tolist()
        of_row = dict(zip(ids, scores, strict=True))
        same[group] = [
            (sign * of_row[row], float(outputs.logits[place, 0]))
            for place, row in enumerate(outputs.ids.tolist())
            if row in of_row
        ]
    columns = [
        torch.tensor([pair[k] for pair in same[group]]).double()
        for k in (0, 1)
        for group in ("members", "nonmembers")
    ]
    by_hand = auc_difference(*columns, level=corrected_level(LEVEL, 2))
    assert result.estimate.value == pytest.approx(by_hand.value)
    assert result.estimate.low == pytest.approx(by_hand.low)
    assert result.estimate.n_members == len(same["members"])


def test_no_blind_spot_where_the_kind_steered_or_nothing_did_or_the_gap_is_small() -> None:
    large, small = subject(0.1, 0.9), subject(0.4, 0.45)
    assert found(large, Column(), Other(1), steered="label vector") is None
    assert found(large, Column(), Other(1), steered="") is None
    assert found(large, Column(), Failing(1)) is None
    assert found(small, Column(), Other(1)).status is Status.PASS
    assert found(large, Column(1), Other(0)).status is Status.PASS
    few = subject(0.1, 0.5, n=40)
    assert found(few, Column(), Other(1)).status is Status.PASS  # beyond .03, and not surely


def test_the_strongest_of_every_kind_counts() -> None:
    model = subject(0.1, 0.5, 0.9)
    attacks = (Column(0), Column(1), Other(0), Other(2))
    leaks = leaks_by_signals(model, attacks, steered=frozenset({"label"}), level=LEVEL)
    assert [(leak.signals, leak.result.attack, leak.steered) for leak in leaks] == [
        ("vector", "column-2", False),
        ("label", "column-1", True),
    ]
    for leak in leaks:
        scores = leak.result.scores
        assert leak.auc.value == pytest.approx(auc(scores.members, scores.nonmembers))


@pytest.mark.parametrize(("steered", "expected"), [("label", 1), ("", 0)])
def test_a_verdict_has_the_blind_spot_as_a_warning_and_stays_what_it_was(
    steered: str, expected: int
) -> None:
    model = subject(0.1, 0.9)
    attacks = (Column(), Other(1))
    finding = find(
        {"x": model},
        "x",
        Suite(tuple(Check(a.name, AttackMeasure(a), at_most(0.9)) for a in attacks)),
        compared=[AttackMeasure(a) for a in attacks],
        controls=lambda held: (),
        level=LEVEL,
        on_result=lambda result: None,
        steered=frozenset({steered} - {""}),
    )
    assert finding.status is Status.PASS
    assert [c.status for c in finding.checks if c.name == NAME] == [Status.WARN] * expected
    assert [leak.signals for leak in finding.by_signals] == ["vector", "label"]
