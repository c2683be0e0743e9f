"""Rank figures and rates, on tables worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.errors import ConfigError, UndecidableError
from safecompress.stats import (
    advantage,
    auc,
    balanced_accuracy,
    precision_at_prior,
    realized_tpr_at_fpr,
    roc_curve,
)

INF = float("inf")
GRID = st.sampled_from([-INF, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0, INF])
GROUP = st.lists(GRID, min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("members", "nonmembers", "expected"),
    [
        ([1.0], [0.0], 1.0),
        ([0.0], [1.0], 0.0),
        ([1.0], [1.0], 0.5),
        ([INF, 1.0], [-INF, 1.0], 0.875),
        ([INF], [INF], 0.5),
        ([3.0, 2.0, 0.0], [1.0, 0.0], 4.5 / 6),
        ([True, True], [False, True], 0.75),
    ],
)
def test_auc_by_hand(members, nonmembers, expected):
    assert auc(members, nonmembers) == expected


@given(GROUP, GROUP)
def test_auc_counts_pairs(members, nonmembers):
    wins = sum((m > n) + (m == n) / 2 for m in members for n in nonmembers)
    assert auc(members, nonmembers) == wins / (len(members) * len(nonmembers))


@given(GROUP, GROUP)
def test_swapping_the_groups_mirrors_auc(members, nonmembers):
    assert auc(members, nonmembers) == pytest.approx(1 - auc(nonmembers, members), abs=1e-15)


@given(GROUP, GROUP)
def test_every_roc_point_is_what_its_threshold_does(members, nonmembers):
    curve = roc_curve(members, nonmembers)
    m, n = np.array(members), np.array(nonmembers)
    for fpr, tpr, threshold in zip(curve.fpr, curve.tpr, curve.thresholds, strict=True):
        assert fpr == np.mean(n >= threshold)
        assert tpr == np.mean(m >= threshold)
    assert len(curve.fpr) == len(set(members + nonmembers)) + 1
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


@given(GROUP, GROUP)
def test_the_area_under_the_curve_is_auc(members, nonmembers):
    curve = roc_curve(members, nonmembers)
    area = np.sum(np.diff(curve.fpr) * (curve.tpr[1:] + curve.tpr[:-1]) / 2)
    assert area == pytest.approx(auc(members, nonmembers), abs=1e-12)


@given(GROUP, GROUP, st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0]))
def test_a_realized_tpr_at_fpr_is_the_best_point_of_the_curve(members, nonmembers, fpr):
    curve = roc_curve(members, nonmembers)
    assert realized_tpr_at_fpr(members, nonmembers, fpr=fpr) == curve.tpr[curve.fpr <= fpr].max()


@pytest.mark.parametrize("n", [100, 1000, 700])
def test_an_fpr_of_k_percent_allows_exactly_that_many(n):
    nonmembers = np.arange(n)
    for percent in range(101):
        allowed = percent * n // 100
        members = np.arange(n) + 0.5
        assert (
            realized_tpr_at_fpr(members, nonmembers, fpr=percent / 100) == min(allowed + 1, n) / n
        )


@pytest.mark.parametrize("fpr", [-0.1, 1.1, float("nan")])
def test_an_fpr_outside_0_and_1_is_refused(fpr):
    with pytest.raises(ConfigError, match="fpr"):
        realized_tpr_at_fpr([1.0], [0.0], fpr=fpr)


def test_balanced_accuracy_and_advantage_by_hand():
    members, nonmembers = [True, True, True, False], [True, False]
    assert balanced_accuracy(members, nonmembers) == (0.75 + 0.5) / 2
    assert advantage(members, nonmembers) == 0.25


@given(st.lists(st.booleans(), min_size=1), st.lists(st.booleans(), min_size=1))
def test_advantage_is_twice_the_excess_of_balanced_accuracy(members, nonmembers):
    expected = 2 * balanced_accuracy(members, nonmembers) - 1
    assert advantage(members, nonmembers) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("tpr", "fpr", "prior", "expected"),
    [(0.5, 0.5, 0.01, 0.01), (1, 0, 0.01, 1), (0.2, 0.1, 0.5, 2 / 3), (0.1, 0.01, 0.1, 1 / 1.9)],
)
def test_precision_at_prior_is_bayes_rule(tpr, fpr, prior, expected):
    assert precision_at_prior(tpr, fpr, prior=prior) == pytest.approx(expected)


def test_precision_needs_an_accusation():
    with pytest.raises(UndecidableError, match="accuse nobody"):
        precision_at_prior(0.0, 0.0, prior=0.1)
    with pytest.raises(ConfigError, match="prior"):
        precision_at_prior(0.1, 0.1, prior=1.5)
