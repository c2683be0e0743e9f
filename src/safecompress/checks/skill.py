"""`Skill`, `skill_of`: how a model's outputs go with the labels of its rows, and how sure it is.

The association is the covariance of the probability of a class with rows being of that class,
summed over the classes. Unlike accuracy it shows the skill of a model that always predicts the
frequent class and still ranks rows well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from safecompress.protocols import Outputs

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MILD = 5.0
"""Divisor of the logits before a model's sureness is held against it. A model sharpened to a
temperature of 0.2 is honest, and as sure as that only."""
_ZERO = 1e-30
"""Probability below which one counts as rounded to zero."""
_MOST_ROUNDED = 0.05
"""Largest probability that one decimal rounds to zero."""
_ROUNDS = 50
"""Iterations of the correction of frequencies, which converges geometrically."""


@dataclass(frozen=True)
class Skill:
    """What a model's outputs show about their labels.

    Args:
        accuracy: share of rows that the model classifies correctly.
        n: number of rows.
        constant: whether the model returns the same for every row.
        association: the association in standard errors under random labels; 0 for a constant.
        scale: the association, in standard errors, of a model that is always right.
        corrected: the association after its frequencies of classes were corrected, and the one that
            its probabilities then claim.
        milder: the same of the milder model, whose logits are divided by `MILD`.
        excess: by how much the milder, corrected model is surer than it is right, in probability
            and in standard errors.
        raw_excess: the same without the correction, over rows or with classes that weigh the same,
            whichever is smaller: weights of classes make a sound model wrong of most rows of the
            frequent ones, and without them it is wrong of the rare ones.
        one_hot: whether every row has the same margin between its first two classes, as predicted
            classes without probabilities have; their sureness means nothing.
    """

    accuracy: float
    n: int
    constant: bool
    association: float
    scale: float
    corrected: tuple[float, float]
    milder: tuple[float, float]
    excess: tuple[float, float]
    raw_excess: tuple[float, float]
    one_hot: bool


def arrays_of(outputs: Outputs) -> tuple[Floats, Integers]:
    """Return logits (n, classes) and labels (n,) as arrays.

    Args:
        outputs: a model's outputs.
    """
    return outputs.logits.double().numpy(), outputs.labels.numpy()


def probabilities(logits: Floats, *, temperature: float = 1.0) -> Floats:
    """Return probabilities (n, classes), of which none is zero.

    What was rounded to zero counts as half the smallest other, but no more than one decimal hides.

    Args:
        logits: (n, classes).
        temperature: divisor of the logits, above 0.
    """
    exact = np.asarray(softmax(logits, axis=1))
    rounded = exact < _ZERO
    if rounded.any():
        floor = min(exact[~rounded].min() / 2, _MOST_ROUNDED)
        logits = np.log(np.where(rounded, floor, exact))
    return np.asarray(softmax(logits / temperature, axis=1))


def with_frequencies(p: Floats, labels: Integers) -> Floats:
    """Return probabilities whose means are the frequencies of the labels.

    A model trained with weights of classes, or judged on another share of them, is sound but
    predicts them too often. Each class is given a factor that mends that.

    Args:
        p: probabilities (n, classes).
        labels: int64 (n,).
    """
    frequencies = np.bincount(labels, minlength=p.shape[1]) / len(labels)
    for _ in range(_ROUNDS):
        p = p * (frequencies / np.maximum(p.mean(axis=0), 1e-300))
        p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-300)
    return p


def skill_of(outputs: Outputs) -> Skill:
    """Measure a model's skill.

    Args:
        outputs: the model's outputs on at least two rows.
    """
    logits, labels = arrays_of(outputs)
    plain = probabilities(logits)
    constant = bool((np.ptp(logits - logits[:, :1], axis=0) < 1e-9).all())
    association, _ = _association(plain, labels)
    mild = probabilities(logits, temperature=MILD)
    mended = with_frequencies(mild, labels)
    top = np.sort(logits, axis=1)[:, -2:]
    # Balanced classes give the scale of Cohen's kappa; rare ones less, as they are seen less.
    repeats = float(((np.bincount(labels) / len(labels)) ** 2).sum())
    return Skill(
        accuracy=float((logits.argmax(axis=1) == labels).mean()),
        n=len(labels),
        constant=constant,
        association=association,
        scale=float(np.sqrt(2 * (1 - repeats) * (1 / repeats - 1) * len(labels))),
        corrected=_association(with_frequencies(plain, labels), labels),
        milder=_association(mended, labels),
        excess=_excess(mended, labels),
        raw_excess=min(_excess(mild, labels), _excess_by_class(mild, labels)),
        one_hot=bool(np.ptp(top[:, 1] - top[:, 0]) < 1e-6),
    )


def _excess(p: Floats, labels: Integers) -> tuple[float, float]:
    excess = p.max(axis=1) - (p.argmax(axis=1) == labels)
    return float(excess.mean()), in_errors(excess)


def _excess_by_class(p: Floats, labels: Integers) -> tuple[float, float]:
    """Return the excess with classes that weigh the same."""
    excess = p.max(axis=1) - (p.argmax(axis=1) == labels)
    weights = 1 / np.bincount(labels)[labels]
    weights = weights / weights.mean()
    return float((weights * excess).mean()), in_errors(weights * excess)


def in_errors(values: Floats) -> float:
    """Return a mean in its standard errors.

    Args:
        values: at least two.
    """
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() / max(error, 1e-12))


def _association(p: Floats, labels: Integers) -> tuple[float, float]:
    """Return the association, and the one that `p` claims, in errors under permuted labels.

    The variance under permutation is that of Hoeffding's combinatorial central limit theorem.
    """
    n = len(labels)
    shares = np.bincount(labels, minlength=p.shape[1]) / n
    centered = p - p.mean(axis=0)
    deviations = centered - (centered @ shares)[:, None]
    variance = float((shares * n * (deviations**2).sum(axis=0)).sum() / (n - 1))
    if variance < 1e-18 * n:
        return 0.0, 0.0
    found = float(centered[np.arange(n), labels].sum())
    return found / variance**0.5, float((centered**2).sum()) / variance**0.5
