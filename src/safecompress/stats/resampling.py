"""`bootstrap_interval` of any statistic and `jackknife_interval` of a smooth one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from safecompress.errors import DataError, NonFiniteError, UndecidableError
from safecompress.stats._inputs import Floats, counter_based
from safecompress.stats._proportions import Interval, enclosing, tail_of

_BLOCK = 1 << 22
"""Numbers resampled at once: 32 MB."""
_FEWEST = 2
"""Fewest rows that have a variance."""


def bootstrap_interval(
    statistic: Callable[[Floats], Floats],
    rows: ArrayLike,
    *,
    level: float = 0.95,
    seed: int,
    edges: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Return a statistic of rows with its percentile bootstrap interval.

    Args:
        statistic: maps float64 (k, n, columns), k samples of n rows, to their figures, (k,).
        rows: float (n,) or (n, columns), finite; at least 2.
        level: coverage, in (0, 1).
        seed: seed of the resampling.
        edges: least and greatest value the statistic can have.

    Raises:
        UndecidableError: with fewer than 2 rows.
        NonFiniteError: when a row is NaN or infinite.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    >>> interval = bootstrap_interval(lambda x: x.mean((1, 2)), [0.0, 1.0] * 50, seed=0)
    >>> interval.value, round(interval.low, 1), round(interval.high, 1)
    (0.5, 0.4, 0.6)
    """
    tail = tail_of(level)
    values = _rows(rows)
    n = len(values)
    count = max(2_000, math.ceil(20 / tail))
    random = counter_based(seed)
    size = max(1, _BLOCK // values.size)
    draws = np.concatenate(
        [
            statistic(values[random.integers(0, n, size=(min(size, count - start), n))])
            for start in range(0, count, size)
        ]
    )
    low, high = np.quantile(draws, [tail, 1 - tail])
    return enclosing(float(statistic(values[None])[0]), float(low), float(high), edges=edges)


def jackknife_interval(
    value: float,
    left_out: ArrayLike,
    *,
    level: float = 0.95,
    edges: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Return a figure with the jackknife's interval, by Student's t with n − 1 degrees of freedom.

    It suits figures of pairs of rows, such as similarities: a bootstrap would repeat rows, and the
    pairs of a row with itself would raise the figure.

    Args:
        value: the figure of all n rows.
        left_out: the figure without each row, (n,).
        level: coverage, in (0, 1).
        edges: least and greatest value the figure can have.

    Raises:
        UndecidableError: with fewer than 2 rows.
        NonFiniteError: when a figure is NaN or infinite.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11.
    """
    without = _rows(left_out)[:, 0]
    n = len(without)
    error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    width = -float(stdtrit(n - 1, tail_of(level))) * error
    return enclosing(value, value - width, value + width, edges=edges)


def _rows(given: ArrayLike) -> Floats:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim not in {1, 2}:
        raise DataError(f"resampling: rows of shape {values.shape}; expected (n,) or (n, columns).")
    if len(values) < _FEWEST:
        raise UndecidableError(f"resampling: {len(values)} rows; expected at least {_FEWEST}.")
    if not np.isfinite(values).all():
        raise NonFiniteError("resampling: rows that are NaN or infinite.")
    return values[:, None] if values.ndim == 1 else values
