"""`misplaced_classes`: whether columns of outputs belong to other classes than the labels say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from safecompress.checks.skill import Floats, Integers, in_errors
from safecompress.randomness import permutation
from safecompress.stats.ranks import midranks

_LEVEL = 1e-5
"""Level of the test of all pairs of classes together."""
_REVERSED = 0.35
"""Largest AUC of a reversed pair: the share of pairs of rows that are told apart rightly."""
_TRIED = 50
"""Most pairs that are tested, those with the largest difference of means first."""
_ERRORS, _GAIN, _FEWEST = 4.5, 0.1, 10
"""Least gain of another order, in standard errors and in probability, and on how many rows."""
_SHOWN = 4


@dataclass(frozen=True)
class Misplaced:
    """An order of columns that fits the labels better.

    Args:
        columns: for each class that is labeled otherwise, the class and the column that fits it.
        accuracy: share of rows right with the columns as they are.
        reordered: share of rows right with the better order.
    """

    columns: tuple[tuple[int, int], ...]
    accuracy: float
    reordered: float

    @property
    def text(self) -> str:
        """The finding in words."""
        shown = ", ".join(f"label {a} goes with column {b}" for a, b in self.columns[:_SHOWN])
        more = len(self.columns) - _SHOWN
        return (
            f"in another order of the classes the outputs fit the labels better: {shown}"
            + (f" and {more} more" if more > 0 else "")
            + f" ({self.reordered:.1%} of the rows right instead of {self.accuracy:.1%})"
        )


def misplaced_classes(p: Floats, labels: Integers) -> Misplaced | None:
    """Return the order of columns that fits the labels, if theirs cannot be right.

    Pairs of classes are tested first: of a sound model, the difference of two probabilities is
    larger for rows of the one class than for rows of the other, however often either is predicted.
    Of a wrong order of few rows in many classes, the best assignment found on one half of the rows
    is tested on the other half.

    Args:
        p: probabilities (n, classes).
        labels: int64 (n,).
    """
    if not (_reversed_pair(p, labels) or _better_order(p, labels)):
        return None
    best = _assignment(p, labels)
    moved = [int(c) for c in np.unique(labels) if best[c] != c]
    if not moved:
        return None
    top = p.argmax(axis=1)
    return Misplaced(
        tuple((c, int(best[c])) for c in moved),
        float((top == labels).mean()),
        float((top == best[labels]).mean()),
    )


def _class_means(p: Floats, labels: Integers) -> Floats:
    """Return the mean probabilities of the rows of each class, (classes, columns)."""
    counts = np.bincount(labels, minlength=p.shape[1])
    sums = np.zeros((p.shape[1], p.shape[1]))
    np.add.at(sums, labels, p)
    return sums / np.maximum(counts, 1)[:, None]


def _assignment(p: Floats, labels: Integers) -> Integers:
    """Return the column that fits each class; equally good ones leave a class where it is."""
    # Imported here, because it takes longer than all else that this package needs of scipy.
    from scipy.optimize import linear_sum_assignment

    gain = _class_means(p, labels) + 1e-9 * np.eye(p.shape[1])
    found = np.empty(p.shape[1], dtype=np.int64)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    found[rows] = columns
    return found


def _reversed_pair(p: Floats, labels: Integers) -> bool:
    means, counts = _class_means(p, labels), np.bincount(labels, minlength=p.shape[1])
    own = np.diag(means)
    gain = np.triu(means + means.T - own[:, None] - own[None, :], 1)
    enough = counts >= 2
    gain[~enough] = gain[:, ~enough] = 0
    pairs = enough.sum() * (enough.sum() - 1) / 2
    strongest = np.argsort(gain, axis=None)[::-1][:_TRIED]
    for a, b in zip(*np.unravel_index(strongest, gain.shape), strict=True):
        if gain[a, b] <= 0:
            return False
        first, second = (p[labels == c][:, a] - p[labels == c][:, b] for c in (a, b))
        auc, probability = _rank_test(first, second)
        if auc < _REVERSED and probability * pairs < _LEVEL:
            return True
    return False


def _rank_test(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the AUC of `first` above `second` and the probability of one as low by chance."""
    n, m = len(first), len(second)
    ranks = midranks(np.concatenate([first, second]))
    auc = (ranks[:n].sum() - n * (n + 1) / 2) / (n * m)
    _, ties = np.unique(ranks, return_counts=True)
    total = n + m
    spread = total + 1 - float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1))
    if spread <= 0:
        return 0.5, 1.0
    return float(auc), float(ndtr((auc - 0.5) * n * m / np.sqrt(n * m / 12 * spread)))


def _better_order(p: Floats, labels: Integers) -> bool:
    """Return whether the order that fits half of the rows of each class fits the others better."""
    at = permutation(len(labels), 0, "class order").numpy()
    at = at[np.argsort(labels[at], kind="stable")]
    for one, other in ((at[::2], at[1::2]), (at[1::2], at[::2])):
        best = _assignment(p[one], labels[one])
        moved = other[best[labels[other]] != labels[other]]
        if len(moved) < _FEWEST:
            continue
        y = labels[moved]
        gains = p[moved, best[y]] - p[moved, y]
        # Each class weighs the same, so that a frequent one that is predicted too often cannot
        # outweigh the others.
        weights = 1 / np.bincount(y)[y]
        weights = weights / weights.mean()
        if (weights * gains).mean() > _GAIN and in_errors(weights * gains) > _ERRORS:
            return True
    return False
