"""`macro_f1` of a classifier, with its interval and the paired difference of two models."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from safecompress.stats._inputs import Floats, Ints, counter_based
from safecompress.stats._proportions import Interval, enclosing, exact, tail_of
from safecompress.stats.by_class import balanced_recall_difference, classes_of_rows, mean_of

_BLOCK = 1 << 20
"""Counts resampled at once."""


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean F1 of the classes that have a label or a prediction, in [0, 1].

    Args:
        labels: integers (n,), the true classes.
        predicted: integers (n,), the predicted classes.

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction for each label.

    >>> round(macro_f1([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.7333
    """
    y, p = classes_of_rows(labels, predicted)
    return float(_mean_f1(y, p, np.ones((1, len(y))))[0])


def macro_f1_interval(
    labels: ArrayLike, predicted: ArrayLike, *, level: float = 0.95, seed: int
) -> Interval:
    """Return macro-F1 with its interval.

    Rows are resampled; a model that is right about all rows would get an interval without width. So
    it is joined with MOVER's of the classes' exact intervals: given how many rows have a class as
    label or prediction, the number of those that have it as both is binomial.

    Args:
        labels: integers (n,), the true classes.
        predicted: integers (n,), the predicted classes.
        level: coverage, in (0, 1).
        seed: seed of the resampling.

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction for each label.
    """
    y, p = classes_of_rows(labels, predicted)
    tail = tail_of(level)
    (true, guessed), counts = _cells(y, p)
    draws = np.concatenate(
        [_mean_f1(true, guessed, sample) for sample in _resamples(counts, tail=tail, seed=seed)]
    )
    low, high = np.quantile(draws, [tail, 1 - tail])
    singles = []
    for c in np.union1d(y, p):
        both, either = int(((y == c) & (p == c)).sum()), int(((y == c) | (p == c)).sum())
        share = exact(both, either, tail=tail)
        singles.append(Interval(*(2 * j / (1 + j) for j in (share.value, share.low, share.high))))
    fixed = mean_of(singles, edges=(0, 1))
    value = macro_f1(y, p)
    return enclosing(value, min(float(low), fixed.low), max(float(high), fixed.high), edges=(0, 1))


def macro_f1_difference(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, *, level: float = 0.95, seed: int
) -> Interval:
    """Return the difference of two models' macro-F1 with the paired bootstrap interval.

    Where the two hardly ever differ, resamples are all alike. So the interval reaches at least as
    far as that of the difference of the balanced accuracies, which always has a width.

    Args:
        labels: integers (n,), the true classes.
        a: integers (n,), the first model's predictions.
        b: integers (n,), the second model's predictions of the same rows.
        level: coverage, in (0, 1).
        seed: seed of the resampling.

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction of each model for each label.
    """
    (y, first), (_, second) = classes_of_rows(labels, a), classes_of_rows(labels, b)
    tail = tail_of(level)
    (true, of_a, of_b), counts = _cells(y, first, second)
    draws = np.concatenate(
        [
            _mean_f1(true, of_a, sample) - _mean_f1(true, of_b, sample)
            for sample in _resamples(counts, tail=tail, seed=seed)
        ]
    )
    low, high = (float(q) for q in np.quantile(draws, [tail, 1 - tail]))
    value = macro_f1(y, first) - macro_f1(y, second)
    around = balanced_recall_difference(y, first, second, level=level)
    return enclosing(
        value,
        min(low, value - (around.value - around.low)),
        max(high, value + (around.high - around.value)),
        edges=(-1, 1),
    )


def _cells(*columns: Ints) -> tuple[tuple[Ints, ...], Ints]:
    """Return the distinct rows of some columns and how often each occurs."""
    cells, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    return tuple(cells.T), counts.astype(np.int64)


def _resamples(counts: Ints, *, tail: float, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield blocks (k, cells) of resampled counts; about 20 replicates are beyond each end."""
    total, random = int(counts.sum()), counter_based(seed)
    replicates = max(2_000, math.ceil(20 / tail))
    block = max(1, _BLOCK // len(counts))
    for start in range(0, replicates, block):
        yield random.multinomial(total, counts / total, size=min(block, replicates - start))


def _mean_f1(labels: Ints, predicted: Ints, weights: NDArray[np.generic]) -> Floats:
    """Return macro-F1 of weighted rows, one figure for each line of weights (k, n)."""
    classes = max(int(labels.max()), int(predicted.max())) + 1
    figures = np.empty(len(weights))
    hits = labels == predicted
    for i, line in enumerate(np.asarray(weights, dtype=np.float64)):
        both = np.bincount(labels[hits], line[hits], minlength=classes)
        either = np.bincount(labels, line, minlength=classes) + np.bincount(
            predicted, line, minlength=classes
        )
        present = either > 0
        figures[i] = (2 * both[present] / either[present]).mean()
    return figures
