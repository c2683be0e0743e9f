"""Intervals of single figures: shares, AUC and balanced accuracy.

All are two-sided at `level` and built to hold at the high levels that correct for many looks.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from safecompress.errors import DataError, UndecidableError
from safecompress.stats._inputs import (
    Floats,
    larger_of_two,
    two_guesses,
    two_scores,
)
from safecompress.stats._logit import logit_interval
from safecompress.stats._placements import Placements, placements, spread
from safecompress.stats._proportions import (
    Interval,
    difference,
    enclosing,
    exact,
    tail_of,
)

__all__ = [
    "Interval",
    "auc_interval",
    "auc_p_value",
    "balanced_accuracy_interval",
    "clopper_pearson",
    "surely_below_chance",
    "two_sided",
]


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Return the exact interval of a share; it never covers less than `level`.

    Args:
        successes: number of successes, 0 to n.
        n: number of independent trials, at least 1.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when n is 0.
        DataError: when successes is outside 0 to n.

    Reference: Clopper and Pearson, Biometrika 1934.
    """
    if n < 1:
        raise UndecidableError(f"clopper_pearson: n={n}; a share needs at least one trial.")
    if not 0 <= successes <= n:
        raise DataError(f"clopper_pearson: {successes} successes of {n}; expected 0 to {n}.")
    return exact(successes, n, tail=tail_of(level))


def auc_interval(members: ArrayLike, nonmembers: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return AUC with DeLong's interval on the logit scale.

    Student's t with Welch–Satterthwaite degrees of freedom replaces the normal distribution. Where
    the ranks of a group are all or nearly all alike (AUC at or near 0 or 1, tied scores, a handful
    of rows), its variance is no estimate of the error, and the interval is widened by the rule of
    three. Where the scores take two values, AUC is the balanced accuracy of the guess that the
    larger one stands for, whose exact interval is better than DeLong's and replaces it.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.

    Reference: DeLong et al., Biometrics 1988; logit scale: Pepe, 2003, section 5.2.
    """
    tail = tail_of(level)
    m, n = two_scores(members, nonmembers, "auc_interval")
    return _auc_at(m, n, placements(m, n), tail)


def _auc_at(members: Floats, nonmembers: Floats, ranked: Placements, tail: float) -> Interval:
    """Return AUC with its interval, from scores and their placements."""
    around = spread(ranked.members, ranked.nonmembers)
    larger = larger_of_two(members, nonmembers)
    if larger is None:
        return logit_interval(ranked.auc, around, tail)
    rates = (exact(int((s == larger).sum()), len(s), tail=tail) for s in (members, nonmembers))
    gap = difference(*rates)
    # Where a group is all or nearly all alike, a third value may only not have been seen yet.
    unseen = around.unseen(tail)
    low, high = (gap.low + 1) / 2, (gap.high + 1) / 2
    low, high = min(low, ranked.auc - unseen), max(high, ranked.auc + unseen)
    return enclosing(ranked.auc, low, high, edges=(0, 1))


def surely_below_chance(auc: float, high: float) -> bool:
    """Return whether an AUC lies below 0.5 by more than twice its interval.

    Of scores without information this happens about once in 10,000 draws.

    Args:
        auc: the AUC.
        high: upper end of its interval at a level of about 0.95.
    """
    return high + (high - auc) < 0.5


def two_sided(interval: Interval) -> Interval:
    """Return max(AUC, 1 − AUC), what an attacker reaches who may turn the ranking around.

    Args:
        interval: an AUC with its interval.

    >>> two_sided(Interval(0.25, 0.125, 0.375))
    Interval(value=0.75, low=0.625, high=0.875)
    >>> two_sided(Interval(0.5, 0.25, 0.625))
    Interval(value=0.5, low=0.5, high=0.75)
    """
    value, low, high = interval.value, interval.low, interval.high
    return Interval(max(value, 1 - value), max(0.5, low, 1 - high), max(high, 1 - low))


def auc_p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Return the one-sided p-value against AUC <= 0.5; small means that members can be recognized.

    It agrees with `auc_interval`: p < a exactly when the interval at level 1 - 2a is above 0.5. The
    null hypothesis is only that AUC <= 0.5; the two groups may differ in spread.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.
    """
    m, n = two_scores(members, nonmembers, "auc_p_value")
    ranked = placements(m, n)
    auc, around = ranked.auc, spread(ranked.members, ranked.nonmembers)
    if not around.uniform and larger_of_two(m, n) is None:
        return around.exceeds(math.log(auc / (1 - auc)) * auc * (1 - auc))
    if auc <= 0.5:
        return 1.0
    accepted, rejected = math.log(1e-300), math.log(0.5)
    for _ in range(60):
        middle = (accepted + rejected) / 2
        if _auc_at(m, n, ranked, math.exp(middle)).low > 0.5:
            rejected = middle
        else:
            accepted = middle
    return math.exp(rejected)


def balanced_accuracy_interval(
    guessed_members: ArrayLike, guessed_nonmembers: ArrayLike, *, level: float = 0.95
) -> Interval:
    """Return balanced accuracy with its interval, for guesses by a threshold fixed on other rows.

    MOVER joins the exact intervals of both rates; the result covers slightly more than `level`,
    also where a rate is near 0 or 1.

    Args:
        guessed_members: bool (m,), guesses about members, True for "member".
        guessed_nonmembers: bool (n,), guesses about non-members, True for "member".
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.

    Reference: Zou and Donner, Statistics in Medicine 2008.
    """
    tail = tail_of(level)
    m, n = two_guesses(guessed_members, guessed_nonmembers, "balanced_accuracy_interval")
    tpr = exact(int(m.sum()), len(m), tail=tail)
    fpr = exact(int(n.sum()), len(n), tail=tail)
    gap = difference(tpr, fpr)
    return enclosing((gap.value + 1) / 2, (gap.low + 1) / 2, (gap.high + 1) / 2, edges=(0, 1))
