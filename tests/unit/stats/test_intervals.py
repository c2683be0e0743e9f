"""Intervals at the edges, where formulas break: perfect separation, ties, tiny groups."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.errors import DataError, UndecidableError
from safecompress.stats import (
    auc,
    auc_interval,
    auc_p_value,
    balanced_accuracy_interval,
    clopper_pearson,
)

INF = float("inf")
LEVELS = [0.5, 0.9, 0.95, 0.999, 1 - 1e-7]
GROUP = st.lists(st.sampled_from([-INF, -1.0, 0.0, 0.5, 1.0, INF]), min_size=1, max_size=25)


def holds(interval, *, low=0.0, high=1.0):
    return low <= interval.low <= interval.value <= interval.high <= high


@given(GROUP, GROUP, st.sampled_from(LEVELS))
def test_an_auc_interval_holds_its_value_and_stays_in_range(members, nonmembers, level):
    interval = auc_interval(members, nonmembers, level=level)
    assert interval.value == auc(members, nonmembers)
    assert holds(interval)


@given(GROUP, GROUP)
def test_a_higher_level_never_narrows_an_auc_interval(members, nonmembers):
    widths = [
        (i.low, -i.high) for i in (auc_interval(members, nonmembers, level=v) for v in LEVELS)
    ]
    for narrow, wide in pairwise(widths):
        assert wide[0] <= narrow[0] + 1e-12
        assert wide[1] <= narrow[1] + 1e-12


@given(GROUP, GROUP, st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_the_p_value_is_the_dual_of_the_interval(members, nonmembers, alpha):
    p = auc_p_value(members, nonmembers)
    assert 0 <= p <= 1
    if not math.isclose(p, alpha, rel_tol=1e-6):
        low = auc_interval(members, nonmembers, level=1 - 2 * alpha).low
        assert (p < alpha) == (low > 0.5)


@pytest.mark.parametrize("n", [20, 100, 2000])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_perfect_separation_keeps_an_honest_lower_end(n, level):
    interval = auc_interval(np.ones(n), np.zeros(n), level=level)
    # All n disjoint pairs right: no method may promise more than Clopper–Pearson on n trials.
    assert interval.low <= clopper_pearson(n, n, level=level).low
    assert interval.low > 1 - 1.5 * (1 - clopper_pearson(n, n, level=level).low)
    assert interval.high == 1
    mirrored = auc_interval(np.zeros(n), np.ones(n), level=level)
    assert mirrored.high == pytest.approx(1 - interval.low, abs=1e-12)


def test_scores_all_tied_are_chance_with_a_width():
    interval = auc_interval(np.zeros(1000), np.zeros(1000))
    assert interval.value == 0.5
    assert 0.004 < interval.high - interval.low < 0.02
    assert auc_p_value(np.zeros(1000), np.zeros(1000)) > 0.5


def test_a_few_rows_say_nothing_however_well_separated():
    interval = auc_interval([1.0], [0.0])
    assert (interval.low, interval.high) == (0, 1)
    assert auc_p_value([3.0, 2.0], [1.0, 0.0]) > 0.05


def test_a_guess_of_certain_members_is_as_sharp_as_its_other_side():
    """Right-or-wrong as the score, every member right: a common label-only attack."""
    nonmembers = np.r_[np.ones(700), np.zeros(300)]
    interval = auc_interval(np.ones(1000), nonmembers)
    of_a_share = clopper_pearson(300, 1000)
    assert interval.high - interval.low < 1.2 * (of_a_share.high - of_a_share.low) / 2


def test_an_extreme_difference_is_an_extreme_p_value():
    random = np.random.default_rng(0)
    members, nonmembers = random.normal(1, 1, 5000), random.normal(0, 1, 5000)
    assert auc_p_value(members, nonmembers) < 1e-100
    assert auc_p_value(nonmembers, members) == pytest.approx(1)


@pytest.mark.parametrize("level", LEVELS)
def test_clopper_pearson_at_the_edges(level):
    tail = (1 - level) / 2
    none, every = clopper_pearson(0, 50, level=level), clopper_pearson(50, 50, level=level)
    assert none.low == 0
    assert none.high == pytest.approx(1 - tail ** (1 / 50))
    assert every.high == 1
    assert every.low == pytest.approx(tail ** (1 / 50))


@pytest.mark.parametrize(("successes", "n", "error"), [(1, 0, UndecidableError), (3, 2, DataError)])
def test_clopper_pearson_refuses_impossible_counts(successes, n, error):
    with pytest.raises(error, match="clopper_pearson"):
        clopper_pearson(successes, n)


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.sampled_from(LEVELS),
)
def test_a_balanced_accuracy_interval_holds_its_value(members, nonmembers, level):
    assert holds(balanced_accuracy_interval(members, nonmembers, level=level))


def test_perfect_guesses_keep_a_width():
    interval = balanced_accuracy_interval([True] * 100, [False] * 100)
    assert 0.95 < interval.low < 0.99
    assert interval.high == 1
