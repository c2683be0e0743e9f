"""`Interval`, and intervals of shares and of their differences, from counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaincinv, ndtri

from safecompress.stats._inputs import require_share


@dataclass(frozen=True)
class Interval:
    """A figure with its two-sided interval.

    Args:
        value: the figure.
        low: lower end, at most `value`.
        high: upper end, at least `value`.
    """

    value: float
    low: float
    high: float


def enclosing(value: float, low: float, high: float, *, edges: tuple[float, float]) -> Interval:
    """Return an interval cut to the figure's range and widened to contain its value.

    Args:
        value: the figure.
        low: lower end.
        high: upper end.
        edges: least and greatest value that the figure can have.
    """
    return Interval(
        float(value), float(min(value, max(low, edges[0]))), float(max(value, min(high, edges[1])))
    )


def tail_of(level: float) -> float:
    """Return the probability beyond each end of a two-sided interval.

    Args:
        level: coverage, in (0, 1).
    """
    return (1 - require_share(level, "level", open_ended=True)) / 2


def beta_bounds(successes: float, n: int, *, tail: float) -> tuple[float, float]:
    """Return the Clopper–Pearson bounds of a share.

    Args:
        successes: number of successes, 0 to n; need not be whole.
        n: number of trials, at least 1.
        tail: probability beyond each end, in (0, 0.5).

    Reference: Clopper and Pearson, Biometrika 1934.
    """
    failures = n - successes
    low = betaincinv(successes, failures + 1, tail) if successes > 0 else 0.0
    # The direct form needs the quantile at 1 - tail, which rounds to 1 for tails below 1e-16. One
    # minus the bound of the failures does not.
    high = 1 - betaincinv(failures, successes + 1, tail) if failures > 0 else 1.0
    return float(low), float(high)


def exact(successes: int, n: int, *, tail: float) -> Interval:
    """Return the Clopper–Pearson interval of a share.

    Args:
        successes: number of successes, 0 to n.
        n: number of trials, at least 1.
        tail: probability beyond each end, in (0, 0.5).
    """
    low, high = beta_bounds(successes, n, tail=tail)
    return enclosing(successes / n, low, high, edges=(0, 1))


def difference(a: Interval, b: Interval, *, correlation: float = 0.0) -> Interval:
    """Return the interval of `a - b` from the intervals of both.

    Args:
        a: the first figure.
        b: the second figure.
        correlation: correlation of their errors, in [-1, 1]; 0 for independent figures.

    Reference: Zou, Psychological Methods 2007; Zou and Donner, Statistics in Medicine 2008
    (MOVER, the method of variance estimates recovery).
    """
    value = a.value - b.value
    low = _joined(a.value - a.low, b.high - b.value, correlation)
    high = _joined(a.high - a.value, b.value - b.low, correlation)
    return Interval(value, value - low, value + high)


def _joined(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0))


def paired_difference(only_a: int, only_b: int, n: int, *, tail: float) -> Interval:
    """Return the score interval of the difference of two shares measured on the same n rows.

    Args:
        only_a: number of rows that count for a and not for b.
        only_b: number of rows that count for b and not for a.
        n: number of all rows.
        tail: probability beyond each end, in (0, 0.5).

    Reference: Tango, Statistics in Medicine 1998, equation 3.
    """
    z = float(-ndtri(tail))
    value = (only_a - only_b) / n
    low = -_tango_limit(only_b, only_a, n, z)
    return enclosing(value, low, _tango_limit(only_a, only_b, n, z), edges=(-1, 1))


def _tango_limit(only_a: int, only_b: int, n: int, z: float) -> float:
    """Return the largest difference that the score test does not reject, by bisection."""
    accepted, rejected = (only_a - only_b) / n, 1.0
    for _ in range(60):
        middle = (accepted + rejected) / 2
        linear = (2 * n - only_a + only_b) * middle - only_a - only_b
        constant = -only_b * middle * (1 - middle)
        # Maximum-likelihood share of rows that count for b alone, given this difference.
        share = (math.sqrt(linear * linear - 8 * n * constant) - linear) / (4 * n)
        variance = n * (2 * share + middle * (1 - middle))
        if (n * middle - only_a + only_b) ** 2 <= z * z * variance:
            accepted = middle
        else:
            rejected = middle
    return rejected
