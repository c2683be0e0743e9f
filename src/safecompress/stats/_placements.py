"""Placements: how each row ranks among the other group's rows; what AUC and DeLong are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from safecompress.stats._inputs import Floats, Ints


def pair_counts(scores: Floats, others: Floats) -> Ints:
    """Return per row twice the number of `others` below it, ties counting once; O(n log n)."""
    order = np.argsort(scores)
    doubled = np.empty(len(scores), dtype=np.int64)
    doubled[order] = sorted_pair_counts(scores[order], np.sort(others))
    return doubled


def sorted_pair_counts(scores: Floats, others: Floats) -> Ints:
    """Return `pair_counts` of scores and others that ascend, and find their places much faster."""
    below = np.searchsorted(others, scores, side="left")
    # Where nothing ties, one search has said it all.
    tied = len(others) and (others[np.minimum(below, len(others) - 1)] == scores).any()
    return below + (np.searchsorted(others, scores, side="right") if tied else below)


@dataclass(frozen=True)
class Placements:
    """The share of the other group each row is ranked right against, ties counting one half.

    Args:
        members: float64 (m,), P(non-member < this member).
        nonmembers: float64 (n,), P(member > this non-member).
        auc: the mean of either, computed in integers.
    """

    members: Floats
    nonmembers: Floats
    auc: float


def placements(members: Floats, nonmembers: Floats) -> Placements:
    """Return the placements of both groups.

    Reference: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; by ranks as in Sun and Xu,
    IEEE Signal Processing Letters 2014.
    """
    m, n = len(members), len(nonmembers)
    below = pair_counts(members, nonmembers)
    above = 2 * m - pair_counts(nonmembers, members)
    return Placements(below / (2 * n), above / (2 * m), int(below.sum()) / (2 * m * n))


MIN_INFORMATIVE = 5
"""A group with fewer rows than this off its commonest value says little about its spread."""


@dataclass(frozen=True)
class Spread:
    """How far a mean over two groups may be off.

    Args:
        error: standard error; 0 where no row differs from its group.
        freedom: Welch–Satterthwaite degrees of freedom of the error.
        uniform: sizes of the groups whose rows are all or nearly all alike.
    """

    error: float
    freedom: float
    uniform: tuple[int, ...]

    def reach(self, tail: float) -> float:
        """Return how far the mean may be off on one side, by Student's t."""
        return float(-stdtrit(self.freedom, tail)) * self.error if self.error > 0 else 0.0

    def exceeds(self, distance: float) -> float:
        """Return the probability that the mean is off by more than `distance` on one side."""
        return float(stdtr(self.freedom, -distance / self.error))

    def unseen(self, tail: float) -> float:
        """Return how far rows unlike all those seen may move the mean: the rule of three.

        None of n rows being of a kind excludes only shares above 1 - tail^(1/n), and such a row
        counts at most 1. Zero where both groups vary enough to speak for themselves.
        """
        return math.hypot(*(-math.expm1(math.log(tail) / n) for n in self.uniform))


def spread(members: Floats, nonmembers: Floats) -> Spread:
    """Return the spread of `mean(members) + mean(nonmembers)` or any signed version of it.

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
