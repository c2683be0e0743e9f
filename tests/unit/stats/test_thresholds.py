"""Thresholds: the best by brute force, ties, infinities, and one per class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safecompress.errors import ConfigError, DataError, NonFiniteError
from safecompress.stats import balanced_accuracy, best_threshold, class_thresholds

INF = float("inf")
GRID = st.sampled_from([-INF, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0, INF])
GROUP = st.lists(GRID, min_size=1, max_size=12)


def accuracy(members, nonmembers, threshold):
    return balanced_accuracy(np.array(members) >= threshold, np.array(nonmembers) >= threshold)


@given(GROUP, GROUP)
def test_no_threshold_is_better_and_no_equal_one_larger(members, nonmembers):
    found = best_threshold(members, nonmembers)
    best = accuracy(members, nonmembers, found)
    assert found in members + nonmembers
    for other in set(members + nonmembers):
        assert accuracy(members, nonmembers, other) <= best + 1e-12
        if other > found:
            assert accuracy(members, nonmembers, other) < best - 1e-12


@pytest.mark.parametrize(
    ("members", "nonmembers", "expected"),
    [
        ([1.0], [0.0], 1.0),
        ([0.0], [1.0], 0.0),
        ([5.0], [5.0], 5.0),
        ([INF], [0.0], INF),
        ([0.0], [-INF], 0.0),
        ([-INF], [-INF], -INF),
        ([2.0, 1.0], [2.0, 0.0], 1.0),
        ([4.0, 2.0], [3.0, 1.0], 4.0),
    ],
)
def test_by_hand(members, nonmembers, expected):
    assert best_threshold(members, nonmembers) == expected


def test_scores_that_point_the_wrong_way_are_never_flipped():
    members, nonmembers = [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]
    threshold = best_threshold(members, nonmembers)
    assert threshold == 0.0
    assert accuracy(members, nonmembers, threshold) == 0.5


@given(GROUP, GROUP)
def test_an_increasing_transform_carries_the_threshold_along(members, nonmembers):
    def squash(values):
        return np.arctan(np.array(values)) * 3 + 1

    expected = squash([best_threshold(members, nonmembers)])[0]
    assert best_threshold(squash(members), squash(nonmembers)) == expected


def test_row_order_does_not_matter():
    random = np.random.default_rng(0)
    members, nonmembers = random.normal(1, 1, 500).round(1), random.normal(0, 1, 300).round(1)
    expected = best_threshold(members, nonmembers)
    assert best_threshold(members[::-1], random.permutation(nonmembers)) == expected


def test_a_float32_score_compares_exactly_with_its_threshold():
    members = torch.tensor([0.1, 0.2], dtype=torch.float32)
    threshold = best_threshold(members, torch.tensor([0.05, 0.0]))
    assert bool((members >= threshold).all())


@given(
    st.lists(st.tuples(GRID, st.integers(0, 3)), max_size=15),
    st.lists(st.tuples(GRID, st.integers(0, 3)), max_size=15),
)
def test_each_class_gets_its_own_best_threshold(members, nonmembers):
    def column(rows, i):
        return np.array([row[i] for row in rows])

    found = class_thresholds(
        column(members, 0),
        column(nonmembers, 0),
        column(members, 1),
        column(nonmembers, 1),
        classes=5,
        default=-7.0,
    )
    assert found.shape == (5,)
    for label in range(5):
        m = [score for score, of in members if of == label]
        n = [score for score, of in nonmembers if of == label]
        assert found[label] == (best_threshold(m, n) if m and n else -7.0)


def test_ten_thousand_classes_agree_with_one_by_one():
    random = np.random.default_rng(1)
    scores, labels = random.normal(size=(2, 40_000)), random.integers(0, 10_000, (2, 40_000))
    found = class_thresholds(*scores, *torch.tensor(labels), classes=10_000, default=0.0)
    for label in range(0, 10_000, 501):
        m, n = (s[of == label] for s, of in zip(scores, labels, strict=True))
        assert found[label] == (best_threshold(m, n) if len(m) and len(n) else 0.0)


@pytest.mark.parametrize(
    ("labels", "classes", "default", "error"),
    [
        ([0], 2, 0.0, DataError),
        ([0, 2], 2, 0.0, DataError),
        ([0, -1], 2, 0.0, DataError),
        ([0.0, 1.0], 2, 0.0, DataError),
        ([0, 1], 0, 0.0, ConfigError),
        ([0, 1], 2, float("nan"), NonFiniteError),
    ],
)
def test_bad_labels_classes_and_defaults_are_refused(labels, classes, default, error):
    with pytest.raises(error, match="class_thresholds"):
        class_thresholds([1.0, 2.0], [0.0], labels, [0], classes=classes, default=default)
