"""Statistics keep their word: 95 % intervals cover 95 %, alarms at 5 % ring 5 % of the time.

At full counts every law runs on 2,000 simulated audits and its rate must lie in the stated range;
at small counts the range only has to be compatible with what was seen.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom, norm

from safecompress.stats import (
    accuracy_difference,
    auc,
    auc_difference,
    auc_interval,
    auc_p_value,
    balanced_accuracy_difference,
    balanced_accuracy_interval,
    bootstrap_difference,
    clopper_pearson,
    smallest_detectable_auc,
    tpr_at_fpr_interval,
)
from tests.support import calibrating, count


def check_rate(successes, trials, *, low, high):
    """The rate lies in [low, high], or at small counts may do so for all these trials can tell."""
    seen = clopper_pearson(successes, trials, level=0.99)
    if calibrating():
        assert low <= seen.value <= high
    else:
        assert seen.low <= high
        assert seen.high >= low


def normal_auc(shift):
    """AUC of N(shift, 1) members against N(0, 1) non-members."""
    return norm.cdf(shift / sqrt(2))


def two_groups(random, m, n, *, shift=0.0, spread=1.0, decimals=None):
    groups = random.normal(shift, spread, m), random.normal(0, 1, n)
    return groups if decimals is None else tuple(np.round(g, decimals) for g in groups)


def two_models(random, m, n, *, shifts, correlation):
    """Scores of two models on the same rows: members and non-members of a, then of b."""
    shared = random.normal(size=m), random.normal(size=n)
    scores = []
    for shift in shifts:
        for row_part, offset in zip(shared, (shift, 0.0), strict=True):
            own = random.normal(size=len(row_part))
            scores.append(offset + sqrt(correlation) * row_part + sqrt(1 - correlation) * own)
    return scores


def auc_case(shift, m, n):
    def draw(random, level):
        return auc_interval(*two_groups(random, m, n, shift=shift), level=level)

    return draw, normal_auc(shift)


def coarse_case(m, n):
    """Scores rounded to whole numbers; both groups alike, so AUC is 0.5."""

    def draw(random, level):
        return auc_interval(*two_groups(random, m, n, decimals=0), level=level)

    return draw, 0.5


def right_or_wrong_case(right, n):
    """A score of 0 or 1: right on every member, on a share `right` of the non-members."""

    def draw(random, level):
        return auc_interval(np.ones(n), random.random(n) < right, level=level)

    return draw, 0.5 + (1 - right) / 2


def balanced_case(tpr, fpr, m, n):
    def draw(random, level):
        guesses = random.random(m) < tpr, random.random(n) < fpr
        return balanced_accuracy_interval(*guesses, level=level)

    return draw, (1 + tpr - fpr) / 2


def tpr_case(shift, m, n, fpr):
    def draw(random, level):
        return tpr_at_fpr_interval(*two_groups(random, m, n, shift=shift), fpr=fpr, level=level)

    return draw, norm.sf(norm.isf(fpr) - shift)


def blocks_case(members, nonmembers, m, n, fpr):
    """Scores of three values, whose shares in both groups are given from the top."""
    points = zip(np.cumsum([0, *nonmembers]), np.cumsum([0, *members]), strict=True)
    edges = list(points)
    truth = max(
        a[1] + (fpr - a[0]) / (b[0] - a[0]) * (b[1] - a[1])
        for a in edges
        for b in edges
        if a[0] <= fpr <= b[0] and a[0] < b[0]
    )

    def draw(random, level):
        groups = (random.choice(3, k, p=p[::-1]) for k, p in ((m, members), (n, nonmembers)))
        return tpr_at_fpr_interval(*groups, fpr=fpr, level=level)

    return draw, truth


def memorized_case(share, m, n, fpr):
    """A share of the members scores above everybody; the others are like non-members."""

    def draw(random, level):
        members, nonmembers = two_groups(random, m, n)
        members[random.random(m) < share] += 20
        return tpr_at_fpr_interval(members, nonmembers, fpr=fpr, level=level)

    return draw, share + (1 - share) * fpr


def two_values_case(tpr, fpr, m, n):
    """AUC of a yes or no."""

    def draw(random, level):
        return auc_interval(random.random(m) < tpr, random.random(n) < fpr, level=level)

    return draw, (1 + tpr - fpr) / 2


def two_values_difference_case(members, nonmembers, n):
    """Difference of two AUCs of a yes or no."""

    def draw(random, level):
        (am, bm), (an, bn) = answers(random, n, *members), answers(random, 2 * n, *nonmembers)
        return auc_difference(am, an, bm, bn, level=level)

    return draw, ((members[0] - members[1]) - (nonmembers[0] - nonmembers[1])) / 2


def paired_case(shifts, correlation, m, n):
    def draw(random, level):
        scores = two_models(random, m, n, shifts=shifts, correlation=correlation)
        return auc_difference(*scores, level=level)

    return draw, normal_auc(shifts[0]) - normal_auc(shifts[1])


def bootstrap_case(shifts, correlation, m, n):
    def draw(random, level):
        scores = two_models(random, m, n, shifts=shifts, correlation=correlation)
        seed = int(random.integers(2**31))
        return bootstrap_difference(auc, *scores, level=level, seed=seed, replicates=400)

    return draw, normal_auc(shifts[0]) - normal_auc(shifts[1])


def answers(random, n, only_a, only_b):
    """Two models' answers, both right on 40 % of rows, one alone on `only_a` or `only_b`."""
    u = random.random(n)
    return u < 0.4 + only_a, (u < 0.4) | (u > 1 - only_b)


def accuracy_case(only_a, only_b, n):
    def draw(random, level):
        return accuracy_difference(*answers(random, n, only_a, only_b), level=level)

    return draw, only_a - only_b


def balanced_difference_case(members, nonmembers, n):
    def draw(random, level):
        (am, bm), (an, bn) = answers(random, n, *members), answers(random, 2 * n, *nonmembers)
        return balanced_accuracy_difference(am, an, bm, bn, level=level)

    return draw, ((members[0] - members[1]) - (nonmembers[0] - nonmembers[1])) / 2


NOMINAL = {
    "auc at chance": auc_case(0.0, 300, 300),
    "auc 0.6, unequal groups": auc_case(0.36, 30, 200),
    "auc 0.9": auc_case(1.81, 200, 200),
    "auc of whole numbers": coarse_case(200, 400),
    "balanced accuracy at chance": balanced_case(0.5, 0.5, 300, 500),
    "balanced accuracy 0.6": balanced_case(0.7, 0.5, 1000, 1000),
    "balanced accuracy, strong attack": balanced_case(0.98, 0.4, 500, 500),
    "two values, hundred others": two_values_case(0.95, 0.85, 1000, 100),
    "two values": two_values_case(0.7, 0.5, 500, 500),
    "auc difference, none": paired_case((0.5, 0.5), 0.5, 100, 300),
    "auc difference": paired_case((1.0, 0.5), 0.8, 300, 300),
    "accuracy difference, none": accuracy_case(0.1, 0.1, 300),
    "accuracy difference": accuracy_case(0.05, 0.02, 1000),
    "balanced accuracy difference": balanced_difference_case((0.1, 0.05), (0.02, 0.06), 300),
}
CONSERVATIVE = {
    "auc near 1": auc_case(3.5, 200, 200),
    "auc 0.999": auc_case(4.4, 300, 100),
    "auc, tiny groups": auc_case(0.5, 8, 12),
    "right-or-wrong score": right_or_wrong_case(0.8, 300),
    "balanced accuracy near 1": balanced_case(0.995, 0.01, 200, 100),
    "two values, all members alike": two_values_case(1.0, 0.85, 1000, 100),
    "two values, few members": two_values_case(0.99, 0.8, 100, 1000),
    "two values, difference": two_values_difference_case((0.1, 0.05), (0.02, 0.06), 300),
    "tpr at 10 % fpr, chance": tpr_case(0.0, 1000, 1000, 0.1),
    "tpr at 10 % fpr, leak": tpr_case(1.0, 1000, 1000, 0.1),
    "tpr at 10 expected false positives": tpr_case(2.0, 1000, 1000, 0.01),
    "tpr at 1 expected false positive": tpr_case(0.36, 1000, 1000, 0.001),
    "tpr at less than one": tpr_case(1.2, 60, 60, 0.01),
    "tpr, few members": tpr_case(0.36, 60, 3000, 0.01),
    "tpr, few others": tpr_case(1.2, 3000, 60, 0.1),
    "tpr, memorized rows": memorized_case(0.01, 1000, 1000, 0.001),
    "tpr within a tied block": blocks_case((0.5, 0.1, 0.4), (0.025, 0.1, 0.875), 1000, 1000, 0.01),
    "tpr of two values": blocks_case((0.9, 0.1, 0.0), (0.8, 0.2, 0.0), 300, 300, 0.01),
    "tpr at a block's end": blocks_case((0.3, 0.3, 0.4), (0.01, 0.19, 0.8), 500, 500, 0.01),
    "tpr below a useless block": blocks_case(
        (0.0, 0.5, 0.5), (0.009, 0.025, 0.966), 2000, 2000, 0.01
    ),
    "tpr near 1": tpr_case(4.0, 100, 300, 0.05),
    "auc difference near 1": paired_case((4.0, 3.5), 0.0, 50, 300),
    "rare disagreements": accuracy_case(0.01, 0.001, 300),
}
BOOTSTRAP = {"bootstrap difference": bootstrap_case((1.0, 0.5), 0.5, 80, 80)}


def covered(case, *, level, trials):
    draw, truth = case
    random = np.random.default_rng(2024)
    intervals = (draw(random, level) for _ in range(trials))
    return sum(i.low <= truth <= i.high for i in intervals)


@pytest.mark.parametrize("name", NOMINAL)
def test_95_percent_intervals_cover_95_percent(name):
    trials = count(200, 2000)
    check_rate(covered(NOMINAL[name], level=0.95, trials=trials), trials, low=0.93, high=0.98)


@pytest.mark.parametrize("name", CONSERVATIVE)
def test_where_formulas_break_intervals_cover_at_least_that(name):
    trials = count(200, 2000)
    check_rate(covered(CONSERVATIVE[name], level=0.95, trials=trials), trials, low=0.93, high=1)


@pytest.mark.parametrize("name", BOOTSTRAP)
def test_the_general_bootstrap_covers_95_percent(name):
    trials = count(20, 2000)
    check_rate(covered(BOOTSTRAP[name], level=0.95, trials=trials), trials, low=0.93, high=0.98)


@pytest.mark.parametrize("name", NOMINAL | CONSERVATIVE)
def test_levels_corrected_for_many_looks_hold(name):
    trials = count(50, 2000)
    missed = trials - covered((NOMINAL | CONSERVATIVE)[name], level=0.999, trials=trials)
    assert clopper_pearson(missed, trials, level=0.98).low <= 0.001


@pytest.mark.parametrize("n", [1, 7, 40])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_clopper_pearson_covers_every_share(n, level):
    intervals = [clopper_pearson(k, n, level=level) for k in range(n + 1)]
    for share in np.linspace(0, 1, 301):
        holding = [k for k, i in enumerate(intervals) if i.low <= share <= i.high]
        assert binom.pmf(holding, n, share).sum() >= level - 1e-9


NULLS = {
    "alike": {"m": 300, "n": 300},
    "unequal groups": {"m": 30, "n": 300},
    "wide members": {"m": 300, "n": 100, "spread": 3.0},
    "narrow members": {"m": 50, "n": 300, "spread": 0.3},
    "whole numbers": {"m": 300, "n": 300, "decimals": 0},
}


@pytest.mark.parametrize("name", NULLS)
def test_without_a_leak_the_alarm_rings_at_its_stated_rate(name):
    trials = count(200, 2000)
    random = np.random.default_rng(7)
    alarms = sum(auc_p_value(*two_groups(random, **NULLS[name])) < 0.05 for _ in range(trials))
    interval = clopper_pearson(alarms, trials, level=0.99)
    assert interval.low <= 0.05 <= interval.high


@pytest.mark.parametrize(("m", "n"), [(50, 300), (500, 500)])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_smallest_detectable_auc_is_detected_four_times_in_five(m, n, level):
    trials = count(200, 2000)
    random = np.random.default_rng(11)
    shift = sqrt(2) * norm.ppf(smallest_detectable_auc(m, n, level=level))
    alarms = sum(
        auc_p_value(*two_groups(random, m, n, shift=shift)) < 1 - level for _ in range(trials)
    )
    check_rate(alarms, trials, low=0.76, high=0.84)
