"""Paired differences: signs, degenerate pairs, and agreement with slow independent methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from safecompress.errors import ConfigError, DataError, NonFiniteError, UndecidableError
from safecompress.stats import (
    accuracy_difference,
    auc,
    auc_difference,
    auc_interval,
    balanced_accuracy,
    balanced_accuracy_difference,
    bootstrap_difference,
    excess_gain,
    tpr_at_fpr,
    tpr_at_fpr_difference,
)
from tests.support import count

BOOLS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
SCORES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


def columns(rows):
    return [np.array(column) for column in zip(*rows, strict=True)]


def scored(seed, *, n=400, shift=1.0, noise=0.3):
    """Two models' scores on the same rows: a sees the shift, b sees it through more noise."""
    random = np.random.default_rng(seed)
    a = random.normal(shift, 1, n), random.normal(0, 1, n)
    return (*a, *(side + random.normal(0, noise, n) for side in a))


@given(SCORES, SCORES, st.sampled_from([0.9, 0.999]))
def test_auc_difference_is_a_minus_b_and_swaps_sign(members, nonmembers, level):
    (am, bm), (an, bn) = columns(members), columns(nonmembers)
    there = auc_difference(am, an, bm, bn, level=level)
    back = auc_difference(bm, bn, am, an, level=level)
    assert there.value == auc(am, an) - auc(bm, bn)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.low == pytest.approx(-back.high, abs=1e-9)
    assert there.high == pytest.approx(-back.low, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_rows_in_another_order_give_the_same_interval(seed):
    am, an, bm, bn = scored(seed)
    m, n = (np.random.default_rng(seed).permutation(len(side)) for side in (am, an))
    first, second = auc_difference(am, an, bm, bn), auc_difference(am[m], an[n], bm[m], bn[n])
    assert second.low == pytest.approx(first.low, abs=1e-12)
    assert second.high == pytest.approx(first.high, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_pairing_narrows_the_interval(seed):
    am, an, bm, bn = scored(seed)
    paired = auc_difference(am, an, bm, bn)
    alone = [auc_interval(am, an), auc_interval(bm, bn)]
    unpaired = math.hypot(*(i.high - i.low for i in alone))
    assert paired.high - paired.low < 0.6 * unpaired


def test_near_one_the_skew_of_both_intervals_counts_and_so_does_pairing():
    am, an, bm, bn = scored(0, n=200, shift=2.6, noise=0.1)
    a, b, both = auc_interval(am, an), auc_interval(bm, bn), auc_difference(am, an, bm, bn)
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    assert 0.2 < (both.value - both.low) / below < 0.6
    assert 0.2 < (both.high - both.value) / above < 0.6


@pytest.mark.parametrize("n", [50, 1000])
def test_identical_scores_give_a_narrow_interval_around_zero(n):
    am, an, _, _ = scored(0, n=n)
    interval = auc_difference(am, an, am, an)
    assert interval.value == 0
    assert 0 < interval.high < 6 / n
    assert interval.low == -interval.high


def test_two_perfect_attacks_do_not_differ_for_certain():
    ones, zeros = np.ones(200), np.zeros(200)
    interval = auc_difference(ones, zeros, ones * 5, zeros)
    assert interval.low < 0 < interval.high < 0.05


@pytest.mark.parametrize("seed", range(2))
def test_delong_agrees_with_the_bootstrap(seed):
    given_scores = scored(seed)
    delong = auc_difference(*given_scores)
    bootstrap = bootstrap_difference(auc, *given_scores, seed=seed, replicates=600)
    assert bootstrap.value == delong.value
    assert bootstrap.high - bootstrap.low == pytest.approx(delong.high - delong.low, rel=0.15)


@given(BOOLS, st.sampled_from([0.5, 0.95, 0.9999]))
def test_accuracy_difference_holds_its_value_and_swaps_sign(rows, level):
    a, b = columns(rows)
    there, back = accuracy_difference(a, b, level=level), accuracy_difference(b, a, level=level)
    assert there.value == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.low == pytest.approx(-back.high, abs=1e-12)


def tango_statistic(only_a, only_b, n, difference):
    """The score statistic with the nuisance share found by maximizing the likelihood itself."""

    def negative_log_likelihood(share_b):
        shares = share_b + difference, share_b, 1 - 2 * share_b - difference
        counts = only_a, only_b, n - only_a - only_b
        return -sum(c * math.log(max(p, 1e-300)) for c, p in zip(counts, shares, strict=True) if c)

    bounds = max(0.0, -difference), (1 - difference) / 2
    best = minimize_scalar(
        negative_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}
    ).x
    return (only_a - only_b - n * difference) / math.sqrt(
        n * (2 * best + difference * (1 - difference))
    )


@pytest.mark.parametrize(
    ("only_a", "only_b", "n"), [(7, 3, 40), (5, 20, 300), (1, 2, 25), (30, 12, 60)]
)
def test_both_ends_are_where_the_score_test_just_rejects(only_a, only_b, n):
    a = np.r_[np.ones(only_a), np.zeros(n - only_a)]
    b = np.r_[np.zeros(only_a), np.ones(only_b), np.zeros(n - only_a - only_b)]
    interval = accuracy_difference(a, b, level=0.95)
    assert tango_statistic(only_a, only_b, n, interval.low) == pytest.approx(1.95996, abs=1e-3)
    assert tango_statistic(only_a, only_b, n, interval.high) == pytest.approx(-1.95996, abs=1e-3)


@pytest.mark.parametrize("n", [1, 20, 1000])
def test_models_that_never_disagree_keep_a_width(n):
    interval = accuracy_difference(np.ones(n), np.ones(n))
    # Wilson's upper end for none of n.
    assert interval.high == pytest.approx(1.95996**2 / (n + 1.95996**2), abs=1e-5)
    assert interval.low == -interval.high


@given(BOOLS, BOOLS)
def test_balanced_accuracy_difference_holds_its_value_and_swaps_sign(members, nonmembers):
    (am, bm), (an, bn) = columns(members), columns(nonmembers)
    there = balanced_accuracy_difference(am, an, bm, bn)
    back = balanced_accuracy_difference(bm, bn, am, an)
    expected = balanced_accuracy(am, an) - balanced_accuracy(bm, bn)
    assert there.value == pytest.approx(expected, abs=1e-12)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.low == pytest.approx(-back.high, abs=1e-12)


def test_bootstrap_resamples_both_models_alike():
    am, an, _, _ = scored(0, n=60)
    interval = bootstrap_difference(auc, am, an, am * 2 + 1, an * 2 + 1, seed=0, replicates=100)
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)


def test_bootstrap_is_a_function_of_its_seed():
    rows = scored(0, n=60)
    first, again, other = (
        bootstrap_difference(auc, *rows, seed=seed, replicates=100) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_bootstrap_refuses_too_few_replicates_and_a_statistic_without_a_number():
    rows = scored(0, n=10)
    with pytest.raises(ConfigError, match="needs at least 2000"):
        bootstrap_difference(auc, *rows, level=0.999, seed=0, replicates=100)
    with pytest.raises(NonFiniteError, match="statistic"):
        bootstrap_difference(lambda m, n: math.nan, *rows, seed=0, replicates=100)


def test_different_rows_are_not_pairs():
    with pytest.raises(DataError, match="same rows"):
        auc_difference([1.0, 2.0], [0.0], [1.0], [0.0])
    with pytest.raises(DataError, match="same rows"):
        balanced_accuracy_difference([True], [False, True], [True], [False])
    with pytest.raises(DataError, match="same rows"):
        bootstrap_difference(auc, [1.0], [0.0, 1.0], [1.0], [0.0], seed=0)
    with pytest.raises(DataError, match="same rows"):
        accuracy_difference([True], [])
    with pytest.raises(UndecidableError, match="at least one"):
        accuracy_difference([], [])


def test_the_excess_gain_is_the_difference_of_two_gains():
    a, b = np.array([1, 1, 1, 0], bool), np.array([1, 0, 0, 0], bool)
    found = excess_gain(a, b, b, b)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert excess_gain(a, a, b, b).value == 0


def test_the_excess_gain_s_interval_covers_the_truth():
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        inside, outside = (draw.random((3, n)) for n in (200, 150))
        # Who asks is right where the other is, and on a share more: .3 of the rest, or .1.
        b = [side[0] < 0.6 for side in (inside, outside)]
        a = [b[0] | (inside[1] < 0.3), b[1] | (outside[1] < 0.1)]
        found = excess_gain(*a, *b, level=0.9)
        covered += found.low <= 0.4 * 0.3 - 0.4 * 0.1 <= found.high
    assert 0.86 <= covered / 400 <= 0.95


def test_a_difference_of_rates_that_few_rows_do_not_carry_is_refused():
    few = np.arange(8.0)
    with pytest.raises(UndecidableError, match="leave 0 false positives; expected at least 10"):
        tpr_at_fpr_difference(few, few, few, few, fpr=0.001, seed=0)


def test_a_difference_of_two_empty_rates_keeps_a_width():
    nonmembers = np.arange(1000.0)
    nobody = np.full(50, -1.0)
    found = tpr_at_fpr_difference(nobody, nonmembers, nobody, nonmembers, fpr=0.01, seed=0)
    assert found.value == 0.0
    # Of 50 members none is accused by one model alone: some 7 in a hundred might have been.
    assert found.high == -found.low
    assert 0.05 < found.high < 0.1


def test_a_difference_of_rates_is_that_of_the_rates_and_turns_with_the_sides():
    a, others, b, again = scored(0, n=1500)
    there = tpr_at_fpr_difference(a, others, b, again, fpr=0.02, seed=0)
    back = tpr_at_fpr_difference(b, again, a, others, fpr=0.02, seed=0)
    assert there.value == pytest.approx(
        tpr_at_fpr(a, others, fpr=0.02) - tpr_at_fpr(b, again, fpr=0.02)
    )
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.02)


def test_a_rare_new_leak_is_seldom_called_no_difference():
    """Two members in a hundred learned by heart by one model alone, 50 members: below 5 % pass."""
    passed, sets = 0, count(40, 100)
    for seed in range(sets):
        random = np.random.default_rng(seed)
        members, nonmembers = random.normal(0, 1, 50), random.normal(0, 1, 1000)
        leaking = np.where(random.random(50) < 0.02, 10.0, members)
        found = tpr_at_fpr_difference(leaking, nonmembers, members, nonmembers, fpr=0.01, seed=seed)
        passed += found.high <= 0.0
    assert passed <= sets // 20
