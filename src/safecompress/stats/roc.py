"""Rank figures of a score and rates of a guess. Higher score = more member, higher = worse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import UndecidableError
from safecompress.stats._inputs import Bools, Floats, require_share, two_guesses, two_scores
from safecompress.stats._placements import sorted_pair_counts

MIN_FALSE_POSITIVES = 10
"""Below this many allowed false positives no TPR at a fixed FPR is believed."""


def auc(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Return P(member's score > non-member's score), ties counting one half (Mann–Whitney).

    Exact: pairs are counted in integers, in O(n log n).

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
    """The operating points of "score >= threshold is a member", from nobody to everybody accused.

    Args:
        fpr: float64 (k,), share of non-members accused, from 0 to 1.
        tpr: float64 (k,), share of members accused, from 0 to 1.
        thresholds: float64 (k,), descending, one per distinct score. The first, which accuses
            nobody, is +inf, or NaN when a score is +inf and so no number accuses nobody.
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
    nobody = np.nan if scores[0] == np.inf else np.inf
    return Roc(
        fpr=np.r_[0.0, false_positives / len(n)],
        tpr=np.r_[0.0, true_positives / len(m)],
        thresholds=np.r_[nobody, scores[ends]],
    )


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, *, fpr: float) -> float:
    """Return the largest TPR of a threshold whose realized FPR is at most `fpr`; O(n).

    No interpolation and no randomized guess: a realized operating point.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).
        fpr: largest share of non-members that may be accused, in [0, 1].

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.
        ConfigError: when `fpr` is outside [0, 1].
    """
    m, n = two_scores(members, nonmembers, "tpr_at_fpr")
    if allowed_false_positives(len(n), fpr=fpr) == len(n):
        return 1.0
    return float(np.mean(m > first_spared(n, fpr=fpr)))


def first_spared(nonmembers: Floats, *, fpr: float) -> float:
    """Return the score above which a row is accused at this FPR, that of a non-member.

    One more accusation than allowed would reach it, so the threshold lies above it.

    Args:
        nonmembers: scores (n,).
        fpr: largest share of them that may be accused, in [0, 1).
    """
    place = len(nonmembers) - 1 - allowed_false_positives(len(nonmembers), fpr=fpr)
    return float(np.partition(nonmembers, place)[place])


def allowed_false_positives(n_nonmembers: int, *, fpr: float) -> int:
    """Return the largest k with k / n_nonmembers <= fpr.

    >>> allowed_false_positives(100, fpr=0.29)
    29
    """
    require_share(fpr, "fpr")
    # fpr * n rounds (0.29 * 100 < 29), the quotient of two integers does not mislead.
    k = round(fpr * n_nonmembers)
    return k if k / n_nonmembers <= fpr else k - 1


def require_false_positives(n_nonmembers: int, *, fpr: float, where: str) -> None:
    """Raise UndecidableError where so few non-members do not carry a rate at this FPR."""
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
        guessed_members: bool (m,), True = "member", about rows that are members.
        guessed_nonmembers: bool (n,), the same about rows that are not.

    Raises:
        UndecidableError: when a side is empty.
    """
    m, n = two_guesses(guessed_members, guessed_nonmembers, "balanced_accuracy")
    return (_share(m) + 1.0 - _share(n)) / 2


def advantage(guessed_members: ArrayLike, guessed_nonmembers: ArrayLike) -> float:
    """Return TPR - FPR of guesses, in [-1, 1]; 0 is chance, 1 is the worst leak.

    Args and errors are those of `balanced_accuracy`.

    Reference: membership advantage, Yeom et al., CSF 2018, definition 4.
    """
    m, n = two_guesses(guessed_members, guessed_nonmembers, "advantage")
    return _share(m) - _share(n)


def _share(guesses: Bools) -> float:
    """Return the share that was guessed to be members; counting is faster than a mean."""
    return int(np.count_nonzero(guesses)) / len(guesses)


def precision_at_prior(tpr: float, fpr: float, *, prior: float) -> float:
    """Return the share of accused rows that are members when members are `prior` of all rows.

    Args:
        tpr: share of members accused, in [0, 1].
        fpr: share of non-members accused, in [0, 1].
        prior: share of members among the rows an attacker meets, in [0, 1].

    Raises:
        ConfigError: when an argument is outside [0, 1].
        UndecidableError: when nobody is accused, so that there is no precision.

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
