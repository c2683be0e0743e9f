"""AUC and operating points of a score, and rates of guesses.

A higher score means "more member"; a higher figure means a worse leak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import UndecidableError
from safecompress.stats._inputs import Bools, Floats, require_share, two_guesses, two_scores
from safecompress.stats._placements import sorted_pair_counts

MIN_FALSE_POSITIVES = 10
"""Fewest false positives that an FPR must allow for its TPR to be reported."""


def auc(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Return P(member's score > non-member's score), ties counting one half (Mann–Whitney).

    The result is exact, because pairs are counted in integers; it takes O(n log n).

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).

    Returns:
        AUC in [0, 1]; 0.5 is chance, 1 is the worst leak.

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.

    >>> auc([2.0, 1.0], [1.0, 0.0])
    0.875
    """
    m, n = two_scores(members, nonmembers, "auc")
    m.sort()
    n.sort()
    return int(sorted_pair_counts(m, n).sum()) / (2 * len(m) * len(n))


@dataclass(frozen=True)
class Roc:
    """The operating points of the guess "score >= threshold is a member".

    Args:
        fpr: float64 (k,), share of non-members guessed to be members, ascending from 0 to 1.
        tpr: float64 (k,), share of members guessed to be members, ascending from 0 to 1.
        thresholds: float64 (k,), descending, one per distinct score after a first one above all
            scores. That is +inf; NaN where a score is +inf, because no number is above it.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


def roc_curve(members: ArrayLike, nonmembers: ArrayLike) -> Roc:
    """Return every operating point of a score; tied scores share one point.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.
    """
    m, n = two_scores(members, nonmembers, "roc_curve")
    scores = np.concatenate([m, n])
    order = np.argsort(-scores)
    scores, is_member = scores[order], order < len(m)
    ends = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])
    true_positives = np.cumsum(is_member)[ends]
    false_positives = ends + 1 - true_positives
    above_all = np.nan if scores[0] == np.inf else np.inf
    return Roc(
        fpr=np.r_[0.0, false_positives / len(n)],
        tpr=np.r_[0.0, true_positives / len(m)],
        thresholds=np.r_[above_all, scores[ends]],
    )


def realized_tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, *, fpr: float) -> float:
    """Return the largest TPR of a threshold whose realized FPR is at most `fpr`; O(n).

    It is the TPR of an operating point, without interpolation or randomized guesses, as published
    figures mostly are. Where scores tie it can be far below what an attacker reaches, so limits are
    judged by `tpr_at_fpr`.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).
        fpr: largest share of non-members guessed to be members, in [0, 1].

    Returns:
        TPR in [0, 1]; higher means a worse leak.

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.
        ConfigError: when `fpr` is outside [0, 1].
    """
    m, n = two_scores(members, nonmembers, "realized_tpr_at_fpr")
    if allowed_false_positives(len(n), fpr=fpr) == len(n):
        return 1.0
    return float(np.mean(m > threshold_at_fpr(n, fpr=fpr)))


def threshold_at_fpr(nonmembers: Floats, *, fpr: float) -> float:
    """Return the score above which a row is guessed to be a member at this FPR.

    It is the highest score of a non-member that is not a false positive: guessing "member" from
    this score on would exceed the FPR.

    Args:
        nonmembers: scores, float64 (n,).
        fpr: largest share of non-members guessed to be members, in [0, 1).
    """
    place = len(nonmembers) - 1 - allowed_false_positives(len(nonmembers), fpr=fpr)
    return float(np.partition(nonmembers, place)[place])


def allowed_false_positives(n_nonmembers: int, *, fpr: float) -> int:
    """Return the largest k with k / n_nonmembers <= fpr.

    Args:
        n_nonmembers: number of non-members, at least 1.
        fpr: largest share of non-members guessed to be members, in [0, 1].

    Raises:
        ConfigError: when `fpr` is outside [0, 1].

    >>> allowed_false_positives(100, fpr=0.29)
    29
    """
    require_share(fpr, "fpr")
    # The product fpr * n has a rounding error (0.29 * 100 < 29), so candidates for k are compared
    # by the quotient k / n, which is rounded like `fpr` itself.
    k = round(fpr * n_nonmembers)
    return k if k / n_nonmembers <= fpr else k - 1


def require_false_positives(n_nonmembers: int, *, fpr: float, where: str) -> None:
    """Raise UndecidableError unless the FPR allows at least `MIN_FALSE_POSITIVES`.

    Args:
        n_nonmembers: number of non-members, at least 1.
        fpr: largest share of non-members guessed to be members, in (0, 1].
        where: begins the message.
    """
    allowed = allowed_false_positives(n_nonmembers, fpr=fpr)
    if allowed < MIN_FALSE_POSITIVES:
        raise UndecidableError(
            f"{where}: {n_nonmembers} non-members at FPR {fpr:g} leave {allowed} false positives; "
            f"expected at least {MIN_FALSE_POSITIVES}. Use at least "
            f"{math.ceil(MIN_FALSE_POSITIVES / fpr)} non-members or a larger FPR."
        )


def balanced_accuracy(guessed_members: ArrayLike, guessed_nonmembers: ArrayLike) -> float:
    """Return (TPR + 1 - FPR) / 2 of guesses; 0.5 is chance, 1 is the worst leak.

    Args:
        guessed_members: bool (m,), guesses about members, True for "member".
        guessed_nonmembers: bool (n,), guesses about non-members, True for "member".

    Returns:
        Balanced accuracy in [0, 1].

    Raises:
        UndecidableError: when a side is empty.
    """
    m, n = two_guesses(guessed_members, guessed_nonmembers, "balanced_accuracy")
    return (_share(m) + 1.0 - _share(n)) / 2


def advantage(guessed_members: ArrayLike, guessed_nonmembers: ArrayLike) -> float:
    """Return TPR - FPR of guesses, in [-1, 1]; 0 is chance, 1 is the worst leak.

    Args:
        guessed_members: bool (m,), guesses about members, True for "member".
        guessed_nonmembers: bool (n,), guesses about non-members, True for "member".

    Raises:
        UndecidableError: when a side is empty.

    Reference: membership advantage, Yeom et al., CSF 2018, definition 4.
    """
    m, n = two_guesses(guessed_members, guessed_nonmembers, "advantage")
    return _share(m) - _share(n)


def _share(guesses: Bools) -> float:
    """Return the share of rows guessed to be members; counting is faster than a mean."""
    return int(np.count_nonzero(guesses)) / len(guesses)


def precision_at_prior(tpr: float, fpr: float, *, prior: float) -> float:
    """Return the share of members among the rows guessed to be members.

    Args:
        tpr: share of members guessed to be members, in [0, 1].
        fpr: share of non-members guessed to be members, in [0, 1].
        prior: share of members among all rows that an attacker scores, in [0, 1].

    Raises:
        ConfigError: when an argument is outside [0, 1].
        UndecidableError: when no row is guessed to be a member, so that there is no precision.

    >>> round(precision_at_prior(0.05, 0.001, prior=0.01), 3)
    0.336
    """
    for name, value in (("tpr", tpr), ("fpr", fpr), ("prior", prior)):
        require_share(value, f"precision_at_prior: {name}")
    right = prior * tpr
    accused = right + (1 - prior) * fpr
    if accused == 0:
        raise UndecidableError(
            f"precision_at_prior: tpr={tpr}, fpr={fpr}, prior={prior} accuse nobody; "
            "precision needs at least one accusation."
        )
    return float(right / accused)
