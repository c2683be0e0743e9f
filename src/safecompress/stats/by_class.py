"""Figures of a classifier that give every class the same weight: recall, balanced accuracy.

All take labels and predictions of the same rows, class indices from 0. A class without rows has no
recall and does not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import DataError, UndecidableError
from safecompress.stats._inputs import Ints
from safecompress.stats._proportions import (
    Interval,
    enclosing,
    exact,
    paired_difference,
    tail_of,
)


def class_recalls(
    labels: ArrayLike, predicted: ArrayLike, *, level: float = 0.95
) -> dict[int, Interval]:
    """Return the recall of every class that has rows, with exact intervals.

    Args:
        labels: integers (n,), the true classes.
        predicted: integers (n,), the predicted classes.
        level: coverage of each interval, in (0, 1).

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction for each label.
    """
    y, p = classes_of_rows(labels, predicted)
    tail = tail_of(level)
    return {c: exact(int((p[at] == c).sum()), len(at), tail=tail) for c, at in _rows(y)}


def recall_differences(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, *, level: float = 0.95
) -> dict[int, Interval]:
    """Return recall(a) - recall(b) of every class that has rows, with Tango's paired intervals.

    Args:
        labels: integers (n,), the true classes.
        a: integers (n,), the first model's predictions.
        b: integers (n,), the second model's predictions of the same rows.
        level: coverage of each interval, in (0, 1).

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction of each model for each label.

    Reference: Tango, Statistics in Medicine 1998.
    """
    (y, first), (_, second) = classes_of_rows(labels, a), classes_of_rows(labels, b)
    tail, found = tail_of(level), {}
    for c, at in _rows(y):
        right, other = first[at] == c, second[at] == c
        only_a, only_b = int((right & ~other).sum()), int((other & ~right).sum())
        found[c] = paired_difference(only_a, only_b, len(at), tail=tail)
    return found


def mean_of(independent: Sequence[Interval], *, edges: tuple[float, float]) -> Interval:
    """Return the mean of independent figures with its interval, by MOVER.

    Far from the edges it is the interval of the sum of the variances; where a figure is at its edge
    it keeps the width of that figure's own interval.

    Args:
        independent: the figures with their intervals, at least one.
        edges: least and greatest value that the mean can have.

    Reference: Zou and Donner, Statistics in Medicine 2008.

    >>> mean_of([Interval(0.5, 0.2, 0.9), Interval(0.7, 0.3, 1.0)], edges=(0, 1))
    Interval(value=0.6, low=0.35, high=0.85)
    """
    n = len(independent)
    value = sum(i.value for i in independent) / n
    below = math.sqrt(sum((i.value - i.low) ** 2 for i in independent)) / n
    above = math.sqrt(sum((i.high - i.value) ** 2 for i in independent)) / n
    return enclosing(value, value - below, value + above, edges=edges)


def balanced_recall(labels: ArrayLike, predicted: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the mean recall of the classes that have rows (balanced accuracy).

    Args:
        labels: integers (n,), the true classes.
        predicted: integers (n,), the predicted classes.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction for each label.
    """
    recalls = class_recalls(labels, predicted, level=level)
    return mean_of(list(recalls.values()), edges=(0, 1))


def balanced_recall_difference(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, *, level: float = 0.95
) -> Interval:
    """Return the difference of two models' balanced accuracies, paired within every class.

    Args:
        labels: integers (n,), the true classes.
        a: integers (n,), the first model's predictions.
        b: integers (n,), the second model's predictions of the same rows.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction of each model for each label.
    """
    return mean_of(list(recall_differences(labels, a, b, level=level).values()), edges=(-1, 1))


def classes_of_rows(labels: ArrayLike, predicted: ArrayLike) -> tuple[Ints, Ints]:
    """Return labels and predictions as arrays.

    Args:
        labels: integers (n,), the true classes.
        predicted: integers (n,), the predicted classes.

    Raises:
        UndecidableError: when there are no rows.
        DataError: when there is not one prediction for each label.
    """
    y, p = (np.asarray(given, dtype=np.int64) for given in (labels, predicted))
    if y.ndim != 1 or y.shape != p.shape:
        raise DataError(
            f"by class: labels of shape {y.shape}, predictions of shape {p.shape}; expected (n,) "
            "of both, of the same rows."
        )
    if not len(y):
        raise UndecidableError("by class: no rows; it needs at least one.")
    return y, p


def _rows(labels: Ints) -> list[tuple[int, Ints]]:
    """Return the classes that have rows, with the positions of their rows."""
    classes, starts = np.unique(np.sort(labels), return_index=True)
    order = np.argsort(labels, kind="stable")
    return [(int(c), at) for c, at in zip(classes, np.split(order, starts[1:]), strict=True)]
