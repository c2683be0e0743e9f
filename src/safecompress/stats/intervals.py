"""Intervals of single figures: shares, AUC, balanced accuracy and TPR at a fixed FPR.

All are two-sided at `level` and built to hold at the high levels that correct for many looks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import DataError, UndecidableError
from safecompress.stats._inputs import (
    Floats,
    Ints,
    counter_based,
    require_share,
    two_guesses,
    two_scores,
)
from safecompress.stats._logit import logit_interval
from safecompress.stats._placements import placements, spread
from safecompress.stats._proportions import (
    Interval,
    difference,
    enclosing,
    exact,
    tail_of,
)
from safecompress.stats.roc import require_false_positives, tpr_at_fpr

__all__ = [
    "Interval",
    "auc_interval",
    "auc_p_value",
    "balanced_accuracy_interval",
    "clopper_pearson",
    "tpr_at_fpr_interval",
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
    three.

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
    ranked = placements(m, n)
    return logit_interval(ranked.auc, spread(ranked.members, ranked.nonmembers), tail)


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
    if not around.uniform:
        return around.exceeds(math.log(auc / (1 - auc)) * auc * (1 - auc))
    if auc <= 0.5:
        return 1.0
    accepted, rejected = math.log(1e-300), math.log(0.5)
    for _ in range(60):
        middle = (accepted + rejected) / 2
        if logit_interval(auc, around, math.exp(middle)).low > 0.5:
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


def tpr_at_fpr_interval(
    members: ArrayLike, nonmembers: ArrayLike, *, fpr: float, level: float = 0.95, seed: int
) -> Interval:
    """Return the TPR at a fixed FPR with a bootstrap interval that varies the threshold, too.

    An interval at a fixed threshold covers far less than its level. Each replicate draws how many
    non-members are above the true threshold (binomial) and, from the members above that score, a
    TPR (beta, as in Clopper–Pearson, so that intervals of 0 and 1 have a width). Bounds that fall
    between two scores are rounded outwards. No row is resampled, so the cost is two sorts.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).
        fpr: largest share of non-members guessed to be members, in (0, 1).
        level: coverage, in (0, 1).
        seed: seed of the bootstrap.

    Raises:
        UndecidableError: when a side is empty, or `fpr` allows fewer than 10 false positives.
        NonFiniteError: when a score is NaN.
        ConfigError: when `fpr` is not a share.
    """
    tail = tail_of(level)
    require_share(fpr, "fpr", open_ended=True)
    m, n = two_scores(members, nonmembers, "tpr_at_fpr_interval")
    require_false_positives(len(n), fpr=fpr, where="tpr_at_fpr_interval")
    low, high = _bootstrap_bounds(m, n, fpr=fpr, tail=tail, seed=seed)
    return enclosing(tpr_at_fpr(m, n, fpr=fpr), low, high, edges=(0, 1))


def _bootstrap_bounds(
    members: Floats, nonmembers: Floats, *, fpr: float, tail: float, seed: int
) -> tuple[float, float]:
    random = counter_based(seed)
    # About 20 replicates are then beyond each end of the interval.
    count = max(4_000, math.ceil(20 / tail))
    total = len(members)
    descending = np.r_[np.inf, np.sort(nonmembers)[::-1], -np.inf]
    not_above: Ints = np.atleast_1d(np.searchsorted(np.sort(members), descending, side="right"))
    beyond = np.r_[total - not_above[:-1], total]
    # `above` non-members are beyond the true threshold, which is between two neighboring scores of
    # non-members. Members beyond the upper score are certainly beyond the threshold, those between
    # both scores perhaps.
    above = random.binomial(len(nonmembers), fpr, size=count)
    surely, perhaps = beyond[above], beyond[above + 1]
    lows, highs = np.zeros(count), np.ones(count)
    some, short = surely > 0, perhaps < total
    lows[some] = random.beta(surely[some], total - surely[some] + 1)
    highs[short] = random.beta(perhaps[short] + 1, total - perhaps[short])
    return float(np.quantile(lows, tail)), float(np.quantile(highs, 1 - tail))
