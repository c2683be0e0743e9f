"""Differences between two models measured on the same rows, a - b, with paired intervals.

Entry i of `a_members` and of `b_members` is about the same row, and likewise for non-members. What
makes a row easy or hard for both models cancels, so the interval is narrower than that of two
independent figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import ConfigError, DataError, NonFiniteError, UndecidableError
from safecompress.stats._inputs import (
    Bools,
    Floats,
    as_guesses,
    counter_based,
    larger_of_two,
    require_share,
    two_guesses,
    two_scores,
)
from safecompress.stats._logit import logit_interval
from safecompress.stats._placements import Placements, placements, spread
from safecompress.stats._proportions import (
    Interval,
    difference,
    enclosing,
    paired_difference,
    tail_of,
)
from safecompress.stats._tail_bootstrap import tpr_differences
from safecompress.stats.low_fpr import tpr_at_fpr
from safecompress.stats.roc import require_false_positives, threshold_at_fpr

SKEWED = 0.9
"""Above this AUC, or below 1 minus it, errors of a difference are too skewed for DeLong."""


def auc_difference(
    a_members: ArrayLike,
    a_nonmembers: ArrayLike,
    b_members: ArrayLike,
    b_nonmembers: ArrayLike,
    *,
    level: float = 0.95,
) -> Interval:
    """Return AUC(a) - AUC(b) with the paired DeLong interval.

    Where the two rankings differ in too few rows for a variance, the interval is widened by the
    rule of three, so that identical scores give a narrow interval around 0 and not one without
    width. Where an AUC is near 0 or 1, it is widened to the one that MOVER computes from the
    intervals of both AUCs. Where the scores of either model take two values, AUC is balanced
    accuracy, and the interval is at least as wide as that of `balanced_accuracy_difference`.

    Args:
        a_members: scores of the first model (m,), higher means more member.
        a_nonmembers: scores of the first model (n,).
        b_members: scores of the second model on the same members (m,).
        b_nonmembers: scores of the second model on the same non-members (n,).
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.
        DataError: when the two models did not score the same number of rows.
        NonFiniteError: when a score is NaN.

    Reference: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; Zou, Psychological Methods 2007.
    """
    tail = tail_of(level)
    a = two_scores(a_members, a_nonmembers, "auc_difference: a")
    b = two_scores(b_members, b_nonmembers, "auc_difference: b")
    _require_same_rows(a, b, "auc_difference")
    ranks_a, ranks_b = placements(*a), placements(*b)
    around = spread(ranks_a.members - ranks_b.members, ranks_a.nonmembers - ranks_b.nonmembers)
    value = ranks_a.auc - ranks_b.auc
    reach = math.hypot(around.reach(tail), around.unseen(tail))
    low, high = value - reach, value + reach
    if max(abs(ranks_a.auc - 0.5), abs(ranks_b.auc - 0.5)) > SKEWED - 0.5:
        joined = _from_single_intervals(ranks_a, ranks_b, tail)
        low, high = min(low, joined.low), max(high, joined.high)
    larger = larger_of_two(*a), larger_of_two(*b)
    if None not in larger:
        of_a, of_b = ([s == top for s in side] for side, top in zip((a, b), larger, strict=True))
        guessed = _balanced_difference(of_a, of_b, tail)
        low, high = min(low, guessed.low), max(high, guessed.high)
    return enclosing(value, low, high, edges=(-1, 1))


def _from_single_intervals(a: Placements, b: Placements, tail: float) -> Interval:
    """Return MOVER's interval of the difference, from each AUC's own, possibly asymmetric one."""
    correlation = 0.0
    around_a, around_b = spread(a.members, a.nonmembers), spread(b.members, b.nonmembers)
    if around_a.error > 0 and around_b.error > 0:
        covariance = sum(
            float(np.cov(x, y)[0, 1]) / len(x)
            for x, y in ((a.members, b.members), (a.nonmembers, b.nonmembers))
            if len(x) > 1
        )
        correlation = max(-1.0, min(1.0, covariance / (around_a.error * around_b.error)))
    return difference(
        logit_interval(a.auc, around_a, tail),
        logit_interval(b.auc, around_b, tail),
        correlation=correlation,
    )


def accuracy_difference(
    a_correct: ArrayLike, b_correct: ArrayLike, *, level: float = 0.95
) -> Interval:
    """Return accuracy(a) - accuracy(b) on the same rows with Tango's score interval.

    Args:
        a_correct: bool (n,), whether the first model is right about each row.
        b_correct: bool (n,), the same for the second model.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when there are no rows.
        DataError: when the two models have different numbers of rows.

    Reference: Tango, Statistics in Medicine 1998.
    """
    tail = tail_of(level)
    a = as_guesses(a_correct, "accuracy_difference: a_correct")
    b = as_guesses(b_correct, "accuracy_difference: b_correct")
    _require_same_rows((a,), (b,), "accuracy_difference")
    if len(a) == 0:
        raise UndecidableError("accuracy_difference: no rows; it needs at least one.")
    return _share_difference(a, b, tail)


def excess_gain(
    a_members: ArrayLike,
    a_nonmembers: ArrayLike,
    b_members: ArrayLike,
    b_nonmembers: ArrayLike,
    *,
    level: float = 0.95,
) -> Interval:
    """Return (accuracy(a) - accuracy(b)) on members minus the same on non-members.

    Args:
        a_members: bool (m,), whether the first model is right about each member.
        a_nonmembers: bool (n,), whether it is right about each non-member.
        b_members: bool (m,), whether the second model is right about each member.
        b_nonmembers: bool (n,), whether it is right about each non-member.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.
        DataError: when the two models have different numbers of rows.

    Reference: the difference on each side by Tango, Statistics in Medicine 1998; the difference of
    both sides by MOVER, Zou, Psychological Methods 2007.
    """
    of_members = accuracy_difference(a_members, b_members, level=level)
    of_nonmembers = accuracy_difference(a_nonmembers, b_nonmembers, level=level)
    return difference(of_members, of_nonmembers)


def balanced_accuracy_difference(
    a_members: ArrayLike,
    a_nonmembers: ArrayLike,
    b_members: ArrayLike,
    b_nonmembers: ArrayLike,
    *,
    level: float = 0.95,
) -> Interval:
    """Return the difference of the balanced accuracies of two models' guesses about the same rows.

    Each side's paired interval is Tango's; MOVER joins the two independent sides.

    Args:
        a_members: bool (m,), guesses about members by the first model's scores, True for "member".
        a_nonmembers: bool (n,), guesses about non-members by the first model's scores.
        b_members: bool (m,), guesses about the same members by the second model's scores.
        b_nonmembers: bool (n,), guesses about the same non-members by the second model's scores.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.
        DataError: when the two models did not guess about the same number of rows.

    Reference: Zou and Donner, Statistics in Medicine 2008.
    """
    tail = tail_of(level)
    a = two_guesses(a_members, a_nonmembers, "balanced_accuracy_difference: a")
    b = two_guesses(b_members, b_nonmembers, "balanced_accuracy_difference: b")
    _require_same_rows(a, b, "balanced_accuracy_difference")
    return _balanced_difference(a, b, tail)


def _balanced_difference(a: Sequence[Bools], b: Sequence[Bools], tail: float) -> Interval:
    """Return the difference of balanced accuracies from guesses about members and non-members."""
    tpr = _share_difference(a[0], b[0], tail)
    fpr = _share_difference(a[1], b[1], tail)
    twice = difference(tpr, fpr)
    return enclosing(twice.value / 2, twice.low / 2, twice.high / 2, edges=(-1, 1))


def tpr_at_fpr_difference(
    a_members: ArrayLike,
    a_nonmembers: ArrayLike,
    b_members: ArrayLike,
    b_nonmembers: ArrayLike,
    *,
    fpr: float,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """Return the difference of two models' TPR at a fixed FPR.

    The paired bootstrap varies rows, thresholds and the edges of the upper envelope. Where hardly
    any member is above the threshold of one model alone, its resamples are all alike. So the
    interval is at least as wide as Tango's at fixed thresholds, which always has a width.

    Args:
        a_members: scores of the first model (m,).
        a_nonmembers: scores of the first model (n,).
        b_members: scores of the second model on the same members (m,).
        b_nonmembers: scores of the second model on the same non-members (n,).
        fpr: largest share of non-members guessed to be members, in (0, 1).
        level: coverage, in (0, 1).
        seed: seed of the resampling.

    Raises:
        UndecidableError: when a side is empty, or `fpr` allows fewer than 10 false positives.
        DataError: when the two models did not score the same number of rows.
        NonFiniteError: when a score is NaN.
        ConfigError: when `fpr` is not a share.
    """
    require_share(fpr, "fpr", open_ended=True)
    a = two_scores(a_members, a_nonmembers, "tpr_at_fpr_difference: a")
    b = two_scores(b_members, b_nonmembers, "tpr_at_fpr_difference: b")
    _require_same_rows(a, b, "tpr_at_fpr_difference")
    require_false_positives(len(a[1]), fpr=fpr, where="tpr_at_fpr_difference")
    tail = tail_of(level)
    draws = tpr_differences(a, b, fpr=fpr, count=_replicates(tail), seed=seed)
    resampled = np.quantile(draws, [tail, 1 - tail])
    value = tpr_at_fpr(*a, fpr=fpr) - tpr_at_fpr(*b, fpr=fpr)
    above_a, above_b = (m > threshold_at_fpr(n, fpr=fpr) for m, n in (a, b))
    fixed = _share_difference(above_a, above_b, tail)
    low, high = min(float(resampled[0]), fixed.low), max(float(resampled[1]), fixed.high)
    return enclosing(value, low, high, edges=(-1, 1))


def _replicates(tail: float) -> int:
    """Return enough resamples to leave 20 beyond each end of an interval, and at least 1,000."""
    return max(1_000, math.ceil(20 / tail))


def bootstrap_difference(
    statistic: Callable[[Floats, Floats], float],
    a_members: ArrayLike,
    a_nonmembers: ArrayLike,
    b_members: ArrayLike,
    b_nonmembers: ArrayLike,
    *,
    level: float = 0.95,
    seed: int,
    replicates: int | None = None,
) -> Interval:
    """Return the difference of any statistic with the paired percentile bootstrap.

    Members and non-members are resampled independently, and a resample takes the same rows of both
    models. The cost is two calls of `statistic` per replicate.

    Args:
        statistic: `(members, nonmembers) -> float` on float64 arrays.
        a_members: scores of the first model (m,).
        a_nonmembers: scores of the first model (n,).
        b_members: scores of the second model on the same members (m,).
        b_nonmembers: scores of the second model on the same non-members (n,).
        level: coverage, in (0, 1).
        seed: seed of the resampling.
        replicates: number of resamples; by default enough to leave 20 beyond each end of the
            interval, and at least 1,000.

    Raises:
        UndecidableError: when a side is empty.
        DataError: when the two models did not score the same number of rows.
        ConfigError: when there are too few replicates for the level.
        NonFiniteError: when a score or a value of the statistic is NaN.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    tail = tail_of(level)
    a = two_scores(a_members, a_nonmembers, "bootstrap_difference: a")
    b = two_scores(b_members, b_nonmembers, "bootstrap_difference: b")
    _require_same_rows(a, b, "bootstrap_difference")
    count = _replicates(tail) if replicates is None else replicates
    if count * tail < 1:
        raise ConfigError(
            f"bootstrap_difference: replicates={count} reach no further than level "
            f"{1 - 2 / max(count, 1):g}; level={level:g} needs at least {math.ceil(1 / tail)}."
        )
    value = statistic(*a) - statistic(*b)
    draws = np.empty(count)
    random = counter_based(seed)
    for i in range(count):
        rows = [random.integers(0, len(side), len(side)) for side in a]
        of_a, of_b = (statistic(side[0][rows[0]], side[1][rows[1]]) for side in (a, b))
        draws[i] = of_a - of_b
    if not math.isfinite(value) or not np.isfinite(draws).all():
        raise NonFiniteError(
            "bootstrap_difference: the statistic is NaN or infinite on the rows or on a resample "
            "of them; it must be a number for any two non-empty groups."
        )
    low, high = np.quantile(draws, [tail, 1 - tail])
    return enclosing(value, low, high, edges=(-math.inf, math.inf))


def _share_difference(a: Bools, b: Bools, tail: float) -> Interval:
    return paired_difference(int((a & ~b).sum()), int((b & ~a).sum()), len(a), tail=tail)


def _require_same_rows(
    a: tuple[Floats, ...] | tuple[Bools, ...],
    b: tuple[Floats, ...] | tuple[Bools, ...],
    figure: str,
) -> None:
    sizes_a, sizes_b = [len(side) for side in a], [len(side) for side in b]
    if sizes_a != sizes_b:
        raise DataError(
            f"{figure}: a has {sizes_a} rows and b has {sizes_b}; a paired difference needs both "
            "models on the same rows in the same order."
        )
