"""Metric attacks against the formulas written out and against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import log_loss, roc_auc_score

from safecompress.attacks import ATTACKS
from safecompress.protocols import Evidence, Outputs, Pool
from safecompress.randomness import generator
from safecompress.stats import auc


def outputs(n: int, *, classes: int, scale: float, seed: int) -> Outputs:
    source = generator(seed, "parity")
    logits = torch.randn(n, classes, generator=source) * scale
    return Outputs(logits, torch.randint(classes, (n,), generator=source), torch.arange(n))


def naive_loss(p, y):
    return np.array(
        [-log_loss([label], [row], labels=range(len(row))) for row, label in zip(p, y, strict=True)]
    )


def naive_confidence(p, y):
    return p.max(axis=1)


def naive_entropy(p, y):
    return -scipy_entropy(p, axis=1)


def naive_modified_entropy(p, y):
    scores = []
    for row, label in zip(p, y, strict=True):
        total = -(1 - row[label]) * np.log(row[label])
        total -= sum(q * np.log(1 - q) for i, q in enumerate(row) if i != label)
        scores.append(-total)
    return np.array(scores)


NAIVE = {
    "loss": naive_loss,
    "confidence": naive_confidence,
    "entropy": naive_entropy,
    "modified-entropy": naive_modified_entropy,
}


def probabilities(o: Outputs) -> np.ndarray:
    return softmax(o.logits.double().numpy(), axis=1)


@pytest.mark.parametrize("name", sorted(NAIVE))
@pytest.mark.parametrize("classes", [2, 3, 40])
@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0])
def test_scores_are_the_formulas(name, classes, scale):
    given = outputs(60, classes=classes, scale=scale, seed=classes)
    expected = NAIVE[name](probabilities(given), given.labels.numpy())
    score = ATTACKS.build(name, where="test").score(None, Evidence(given)).numpy()
    if name == "confidence":
        score = 1 / (1 + np.exp(-score))
    np.testing.assert_allclose(score, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(NAIVE))
def test_auc_end_to_end_is_scikit_learn_s(name):
    groups = Pool(
        outputs(210, classes=6, scale=3.0, seed=1), outputs(160, classes=6, scale=2.0, seed=2)
    )
    halves = groups.map(lambda o: torch.arange(len(o)) < len(o) // 2)
    result = ATTACKS.build(name, where="test")(groups.map(Evidence), halves=halves, seed=0)
    naive = groups.map(lambda o: NAIVE[name](probabilities(o), o.labels.numpy()))
    expected = roc_auc_score(
        np.r_[np.ones(210), np.zeros(160)], np.r_[naive.members, naive.nonmembers]
    )
    assert auc(result.scores.members, result.scores.nonmembers) == pytest.approx(expected, abs=1e-9)
