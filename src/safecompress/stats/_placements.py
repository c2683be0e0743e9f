"""`placements`, `spread`: ranks of rows among the other group, and DeLong's error from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from safecompress.stats._inputs import Floats, Ints


def pair_counts(scores: Floats, others: Floats) -> Ints:
    """Return per score twice the number of `others` below it, plus once the number of ties.

    It takes O(n log n).

    Args:
        scores: float64 (n,), without NaN.
        others: float64 (m,), without NaN.

    Returns:
        int64 (n,), in the order of `scores`.
    """
    order = np.argsort(scores)
    doubled = np.empty(len(scores), dtype=np.int64)
    doubled[order] = sorted_pair_counts(scores[order], np.sort(others))
    return doubled


def sorted_pair_counts(scores: Floats, others: Floats) -> Ints:
    """Return `pair_counts` of sorted arrays, in which the search is much faster.

    Args:
        scores: float64 (n,), ascending.
        others: float64 (m,), ascending.
    """
    below = np.searchsorted(others, scores, side="left")
    # Without ties the search from the right gives the same, so it is left out.
    tied = len(others) and (others[np.minimum(below, len(others) - 1)] == scores).any()
    return below + (np.searchsorted(others, scores, side="right") if tied else below)


@dataclass(frozen=True)
class Placements:
    """Per row the share of the other group against which it is ranked right; ties count one half.

    Args:
        members: float64 (m,), share of non-members with a lower score than this member.
        nonmembers: float64 (n,), share of members with a higher score than this non-member.
        auc: the mean of either array, in [0, 1], computed in integers.
    """

    members: Floats
    nonmembers: Floats
    auc: float


def placements(members: Floats, nonmembers: Floats) -> Placements:
    """Return the placements of both groups.

    Args:
        members: scores, float64 (m,), m > 0.
        nonmembers: scores, float64 (n,), n > 0.

    Reference: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; by ranks as in Sun and Xu,
    IEEE Signal Processing Letters 2014.
    """
    m, n = len(members), len(nonmembers)
    below = pair_counts(members, nonmembers)
    above = 2 * m - pair_counts(nonmembers, members)
    return Placements(below / (2 * n), above / (2 * m), int(below.sum()) / (2 * m * n))


MIN_INFORMATIVE = 5
"""Fewest rows off the median value at which a group's variance is taken as its spread."""


@dataclass(frozen=True)
class Spread:
    """The sampling error of a sum of two groups' means.

    Args:
        error: standard error; 0 where all rows of each group are alike.
        freedom: Welch–Satterthwaite degrees of freedom of the error.
        uniform: sizes of the groups whose rows are all or nearly all alike.
    """

    error: float
    freedom: float
    uniform: tuple[int, ...]

    def reach(self, tail: float) -> float:
        """Return half the width of the interval, by Student's t.

        Args:
            tail: probability beyond each end, in (0, 0.5).
        """
        return float(-stdtrit(self.freedom, tail)) * self.error if self.error > 0 else 0.0

    def exceeds(self, distance: float) -> float:
        """Return the probability of an error above `distance`, by Student's t.

        Args:
            distance: distance from the mean; `error` must be above 0.
        """
        return float(stdtr(self.freedom, -distance / self.error))

    def unseen(self, tail: float) -> float:
        """Return how far values that no row of a uniform group has may move the mean.

        By the rule of three: when none of n rows has such a value, the share of rows that have it
        may still be 1 - tail^(1/n), and they move the mean by at most that share. Zero where no
        group is uniform.

        Args:
            tail: probability beyond each end, in (0, 0.5).
        """
        return math.hypot(*(-math.expm1(math.log(tail) / n) for n in self.uniform))


def spread(members: Floats, nonmembers: Floats) -> Spread:
    """Return the sampling error of `mean(members) ± mean(nonmembers)`.

    Args:
        members: float64 (m,), m > 0.
        nonmembers: float64 (n,), n > 0.

    Reference: Brunner and Munzel, Biometrical Journal 2000, for the degrees of freedom.
    """
    groups = (members, nonmembers)
    shares = [float(np.var(g, ddof=1)) / len(g) if len(g) > 1 else 0.0 for g in groups]
    weight = sum(s * s / (len(g) - 1) for s, g in zip(shares, groups, strict=True) if len(g) > 1)
    alike = [int(np.sum(g == np.median(g))) for g in groups]
    return Spread(
        error=math.sqrt(sum(shares)),
        freedom=sum(shares) ** 2 / weight if weight > 0 else 1.0,
        uniform=tuple(
            len(g) for g, same in zip(groups, alike, strict=True) if len(g) - same < MIN_INFORMATIVE
        ),
    )
