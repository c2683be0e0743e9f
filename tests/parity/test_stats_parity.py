"""Agreement with scikit-learn and scipy to 1e-9."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, brunnermunzel, rankdata
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.metrics import roc_curve as reference_roc_curve

from safecompress.stats import (
    auc,
    auc_p_value,
    balanced_accuracy,
    best_threshold,
    clopper_pearson,
    roc_curve,
)

INF = np.inf


def normal(m, n, *, shift=0.5, decimals=None):
    random = np.random.default_rng(m * 1000 + n)
    groups = random.normal(shift, 1, m), random.normal(0, 1, n)
    return groups if decimals is None else tuple(np.round(g, decimals) for g in groups)


CASES = {
    "continuous": normal(500, 300),
    "many ties": normal(400, 700, decimals=0),
    "some ties": normal(1000, 1000, decimals=2),
    "all tied": (np.zeros(20), np.zeros(30)),
    "perfect": (np.ones(20), np.zeros(30)),
    "reversed": (np.zeros(20), np.ones(30)),
    "one and one": (np.array([1.0]), np.array([0.0])),
    "one tied": (np.array([1.0]), np.array([1.0])),
    "tiny": normal(2, 3),
    "unequal": normal(1, 2000),
    "infinities": (np.array([INF, INF, 1.0, -INF, 0.3]), np.array([-INF, 1.0, INF, 0.2, -INF])),
    "one infinity": (np.r_[normal(50, 50)[0], INF], np.r_[normal(50, 50)[1], -INF, INF]),
    "huge and small": (np.array([1e300, 1e-300, 5e-324]), np.array([-1e300, 0.0, 1e-300])),
}


def stacked(members, nonmembers):
    """Labels and scores; the references refuse infinities, so scores become their ranks."""
    scores = np.concatenate([members, nonmembers])
    truth = np.r_[np.ones(len(members)), np.zeros(len(nonmembers))]
    return truth, rankdata(scores, method="dense")


@pytest.mark.parametrize("case", CASES)
def test_auc(case):
    assert auc(*CASES[case]) == pytest.approx(roc_auc_score(*stacked(*CASES[case])), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_roc_curve(case):
    truth, ranks = stacked(*CASES[case])
    fpr, tpr, thresholds = reference_roc_curve(truth, ranks, drop_intermediate=False)
    ours = roc_curve(*CASES[case])
    np.testing.assert_allclose(ours.fpr, fpr, atol=1e-9)
    np.testing.assert_allclose(ours.tpr, tpr, atol=1e-9)
    distinct = np.unique(np.concatenate(CASES[case]))
    np.testing.assert_array_equal(ours.thresholds[1:], distinct[thresholds[1:].astype(int) - 1])


@pytest.mark.parametrize("case", CASES)
def test_balanced_accuracy(case):
    members, nonmembers = CASES[case]
    threshold = best_threshold(members, nonmembers)
    guesses = members >= threshold, nonmembers >= threshold
    truth, _ = stacked(members, nonmembers)
    expected = balanced_accuracy_score(truth, np.concatenate(guesses))
    assert balanced_accuracy(*guesses) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999, 1 - 1e-6])
@pytest.mark.parametrize(
    ("successes", "n"),
    [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (1, 1000), (500, 1000), (5, 60_000)],
)
def test_clopper_pearson(successes, n, level):
    ours = clopper_pearson(successes, n, level=level)
    theirs = binomtest(successes, n).proportion_ci(confidence_level=level, method="exact")
    assert ours.value == successes / n
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("shift", [0.0, 0.02, -0.05])
def test_near_chance_the_p_value_is_brunner_and_munzels(shift, decimals):
    """The logit scale and the plain one meet at AUC 0.5; error, freedom and ties are the same."""
    members, nonmembers = normal(800, 1200, shift=shift, decimals=decimals)
    reference = brunnermunzel(nonmembers, members, alternative="less").pvalue
    assert auc_p_value(members, nonmembers) == pytest.approx(reference, abs=1e-3)
