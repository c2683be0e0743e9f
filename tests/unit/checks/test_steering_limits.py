"""Limits on the steering rows: what stands for what, and what a margin says of the check."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.attacks.lira import CalibratedAttack
from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    Check,
    Condition,
    Density,
    GroupLeak,
    LimitMargin,
    Status,
    Subject,
    at_least,
    at_least_dense,
    at_most,
    named_check,
    steering_limits,
)
from safecompress.checks.presets import default_suite
from safecompress.protocols import Estimate, Outputs, Pool

NOTHING: frozenset[str] = frozenset()


@given(
    low=st.floats(-1, 1),
    widths=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    bound=st.floats(-1, 1),
    relation=st.sampled_from(["at_most", "at_least"]),
)
def test_a_margin_of_one_half_width_is_where_the_check_passes_or_fails(
    low: float,
    widths: tuple[float, float],
    bound: float,
    relation: Literal["at_most", "at_least"],
) -> None:
    value = low + widths[0]
    estimate = Estimate(value, low, value + widths[1], 10, 10)
    condition = Condition(relation, bound)
    margin = LimitMargin.of(Check("x", Accuracy(), condition), estimate).margin
    if abs(abs(margin) - 1) > 1e-6:  # beside the two borders, where rounding decides
        expected = (
            Status.PASS if margin >= 1 else Status.FAIL if margin < -1 else Status.INCONCLUSIVE
        )
        assert condition.judge(estimate) is expected


def test_an_unknown_figure_has_no_margin_and_an_exact_one_an_infinite_one() -> None:
    check = named_check(Density(), at_most(0.1))
    assert math.isnan(LimitMargin.unknown(check).margin)
    for density, margin in ((0.1, math.inf), (0.05, math.inf), (0.11, -math.inf)):
        exact = LimitMargin.of(check, Estimate(density, density, density, 0, 0))
        assert exact.margin == exact.reserve == margin


def test_a_limit_that_is_not_decisive_only_asks_not_to_be_missed() -> None:
    estimate = Estimate(0.62, 0.60, 0.64, 10, 10)
    for decisive, reserve in ((True, -1.0), (False, 1.0)):
        check = named_check(Accuracy(), at_most(0.60), decisive=decisive)
        assert LimitMargin.of(check, estimate).reserve == pytest.approx(reserve)


@pytest.mark.parametrize(
    "name", [name for name, part in ATTACKS.parts.items() if "references" in part.factory.requires]
)
def test_an_attack_with_reference_models_is_represented_and_that_is_said(name: str) -> None:
    check = named_check(AttackMeasure(ATTACKS.build(name, where="t")), at_most(0.6))
    stand_in = CalibratedAttack()
    with_it = steering_limits([check], available=NOTHING, stand_in=stand_in, relative=False)
    assert [c.measure for c in with_it.checks] == [AttackMeasure(stand_in)]
    said = f"'{check.name}' is represented in the search by calibrated."
    assert with_it.notes == (() if name == "calibrated" else (said,))
    without = steering_limits([check], available=NOTHING, stand_in=None, relative=False)
    assert without.checks == ()
    assert without.notes == (f"'{check.name}' has no part in the search, which lacks references.",)


def test_attacks_with_one_stand_in_count_once() -> None:
    attacks = [ATTACKS.build(name, where="t") for name in ("loss", "lira-offline", "rmia")]
    suite = default_suite(density=0.1, relative=True, more=attacks[1:])
    limits = steering_limits(
        suite.checks, available=NOTHING, stand_in=CalibratedAttack(), relative=True
    )
    of_references = [c for c in limits.checks if "references" in c.measure.requires]
    groups = [c for c in of_references if isinstance(c.measure, GroupLeak)]
    assert len(groups) == 1
    assert [a.name for a in groups[0].measure.uses_attacks].count("calibrated") == 1
    conditions = [str(c.condition) for c in of_references if c not in groups]
    assert len(conditions) == len(set(conditions)) == 4  # AUC, against dense, two low rates
    names = {c.name for c in suite.checks}
    assert {c.name for c in limits.checks} <= names
    dropped_or_stood_for = [n for n in names if any(f"'{n}'" in note for note in limits.notes)]
    assert len(dropped_or_stood_for) == 9  # two attacks with four limits, and the groups


def test_what_the_loop_lacks_has_no_part_and_that_is_said() -> None:
    boundary = named_check(AttackMeasure(ATTACKS.build("family", where="t")), at_most(0.6))
    relative = named_check(Accuracy(), at_least_dense(-0.05))
    limits = steering_limits([boundary, relative], available=NOTHING, stand_in=None, relative=False)
    assert limits.checks == ()
    assert "which lacks family" in limits.notes[0]
    assert "there is no dense model" in limits.notes[1]


def test_a_figure_that_cannot_be_measured_is_unknown_and_the_others_are_measured() -> None:
    outputs = Pool(_outputs(0), _outputs(1000))
    subject = Subject.of(outputs, name="x", density=None, seed=0)
    checks = [named_check(Density(), at_most(0.5)), named_check(Accuracy(), at_least(0.1))]
    limits = steering_limits(checks, available=NOTHING, stand_in=None, relative=False)
    density, accuracy = limits.margins(subject, None, level=0.95)
    assert math.isnan(density.margin)
    estimate = Accuracy().estimate(subject, level=0.95)
    assert accuracy == LimitMargin.of(checks[1], estimate)


def _outputs(first: int) -> Outputs:
    draw = torch.Generator().manual_seed(first)
    logits = torch.randn(60, 3, generator=draw)
    return Outputs(logits, torch.arange(60) % 3, torch.arange(first, first + 60))
