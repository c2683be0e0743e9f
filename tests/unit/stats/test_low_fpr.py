"""Members found at few false accusations: the upper envelope, and intervals of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.errors import ConfigError
from safecompress.stats import (
    realized_tpr_at_fpr,
    roc_curve,
    tpr_at_fpr,
    tpr_at_fpr_interval,
)
from safecompress.stats._curve import Curve, coarsened

INF = float("inf")
GROUP = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-2, 2), st.sampled_from([INF, -INF])),
    min_size=1,
    max_size=25,
)
RATE = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]), st.floats(0, 1))


def best_mixture(members, nonmembers, fpr):
    """The most that tossing a coin between any two operating points finds, pair by pair."""
    curve = roc_curve(members, nonmembers)
    points = list(zip(curve.fpr, curve.tpr, strict=True))
    return max(
        max(a[1], b[1]) if a[0] == b[0] else a[1] + (fpr - a[0]) / (b[0] - a[0]) * (b[1] - a[1])
        for a in points
        for b in points
        if a[0] <= fpr <= b[0]
    )


@given(GROUP, GROUP, RATE)
def test_it_is_the_best_that_a_coin_between_two_thresholds_finds(members, nonmembers, fpr):
    assert tpr_at_fpr(members, nonmembers, fpr=fpr) == pytest.approx(
        best_mixture(members, nonmembers, fpr), abs=1e-9
    )


@given(GROUP, GROUP, RATE)
def test_it_is_never_below_a_threshold_or_the_straight_line_between_two(members, nonmembers, fpr):
    found, curve = tpr_at_fpr(members, nonmembers, fpr=fpr), roc_curve(members, nonmembers)
    assert found >= realized_tpr_at_fpr(members, nonmembers, fpr=fpr) - 1e-9
    assert found >= np.interp(fpr, curve.fpr, curve.tpr) - 1e-9


@given(GROUP, GROUP, st.floats(0.01, 0.99))
def test_few_rows_lose_nothing_by_coarser_ranks(members, nonmembers, fpr):
    m, n = np.array(members), np.array(nonmembers)
    height = Curve.of_codes(*coarsened(m, n, fpr=fpr, steps=16)).envelope(fpr * len(n))[0]
    assert height / len(m) == pytest.approx(tpr_at_fpr(m, n, fpr=fpr), abs=1e-9)


@pytest.mark.parametrize("fpr", [0.1, 0.01, 0.001])
def test_many_rows_lose_hardly_anything_by_coarser_ranks(fpr):
    random = np.random.default_rng(3)
    m, n = random.normal(0.4, 1.3, 20_000), random.normal(0, 1, 20_000)
    height = Curve.of_codes(*coarsened(m, n, fpr=fpr, steps=16)).envelope(fpr * len(n))[0]
    assert height / len(m) == pytest.approx(tpr_at_fpr(m, n, fpr=fpr), rel=1e-2)


@pytest.mark.parametrize("sure", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("wrong", [0.012, 0.025, 0.3])
def test_rounding_scores_to_ties_does_not_hide_a_leak(sure, wrong):
    """A share `sure` of the members and `wrong` of the others have one and the same top score."""
    random = np.random.default_rng(0)
    members, others = random.random(5000), random.random(2000)
    members[: int(5000 * sure)], others[: int(2000 * wrong)] = 2.0, 2.0
    assert tpr_at_fpr(members, others, fpr=0.01) >= 0.01 / wrong * sure - 1e-9
    interval = tpr_at_fpr_interval(members, others, fpr=0.01)
    assert interval.low <= 0.01 / wrong * sure <= interval.high


@given(GROUP, GROUP, st.floats(0.001, 0.99), st.sampled_from([0.5, 0.95, 0.999]))
def test_an_interval_holds_its_value_and_widens_with_its_level(members, nonmembers, fpr, level):
    inner = tpr_at_fpr_interval(members, nonmembers, fpr=fpr, level=level)
    outer = tpr_at_fpr_interval(members, nonmembers, fpr=fpr, level=(1 + level) / 2)
    assert inner.value == tpr_at_fpr(members, nonmembers, fpr=fpr)
    assert 0 <= inner.low <= inner.value <= inner.high <= 1
    assert outer.low <= inner.low + 1e-6
    assert outer.high >= inner.high - 1e-6


@pytest.mark.parametrize("fpr", [0.0, 1.0, -0.1])
def test_an_interval_refuses_an_empty_question(fpr):
    with pytest.raises(ConfigError, match="fpr"):
        tpr_at_fpr_interval([1.0], [0.0], fpr=fpr)


@pytest.mark.parametrize("fpr", [-0.1, 1.1, float("nan")])
def test_an_fpr_outside_0_and_1_is_refused(fpr):
    with pytest.raises(ConfigError, match="fpr"):
        tpr_at_fpr([1.0], [0.0], fpr=fpr)


def test_rows_too_few_for_a_rate_leave_it_open():
    """One of 60 non-members is more than one in a thousand: hardly anything is known."""
    interval = tpr_at_fpr_interval(np.arange(60.0), np.arange(60.0) + 0.5, fpr=0.001)
    assert interval.low == 0
    assert 0.05 < interval.high < 0.3


@pytest.mark.parametrize(
    ("members", "nonmembers", "low", "high"),
    [
        (np.ones(300), np.zeros(300), 0.97, 1.0),
        (np.full(300, INF), np.zeros(300), 0.97, 1.0),
        (np.zeros(300), np.ones(300), 0.0, 0.13),
        (np.zeros(300), np.full(300, INF), 0.0, 0.13),
        (np.zeros(300), np.zeros(300), 0.05, 0.18),
    ],
)
def test_an_interval_at_the_edges(members, nonmembers, low, high):
    """Who accuses one in ten without looking finds one in ten: the envelope is never below that."""
    interval = tpr_at_fpr_interval(members, nonmembers, fpr=0.1)
    assert low <= interval.low < interval.high <= high
    assert interval.value >= 0.1 - 1e-12
