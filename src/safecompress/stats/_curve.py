"""`Curve`: a score's operating points as numbers of rows, and their upper envelope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safecompress.stats._inputs import Floats, Ints

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Curve:
    """The operating points of a score as numbers of rows; tied scores share one point.

    Args:
        false: int64 (k,), non-members accused at each point, from 0 to all.
        true: int64 (k,), members accused at each point, from 0 to all.
    """

    false: Ints
    true: Ints

    @classmethod
    def of(cls, members: Floats, nonmembers: Floats) -> Curve:
        """Return the curve of two non-empty groups of scores.

        Args:
            members: float64 (m,), without NaN.
            nonmembers: float64 (n,), without NaN.
        """
        return cls.of_codes(*ranked(members, nonmembers))

    @classmethod
    def of_codes(cls, members: Ints, nonmembers: Ints) -> Curve:
        """Return the curve of scores that are small whole numbers; this needs no sorting.

        Args:
            members: int64 (m,), from 0.
            nonmembers: int64 (n,), from 0.
        """
        size = 1 + max(int(members.max()), int(nonmembers.max()))
        return cls.of_counts(*(np.bincount(side, minlength=size) for side in (members, nonmembers)))

    @classmethod
    def of_counts(cls, members: Ints, nonmembers: Ints) -> Curve:
        """Return the curve of groups of which it is known how many rows have each score.

        Args:
            members: int64 (k,), numbers of members by score, rising.
            nonmembers: int64 (k,), numbers of non-members by the same scores.
        """
        sides = (nonmembers, members)
        false, true = (np.concatenate([[0], np.cumsum(side[::-1])]) for side in sides)
        return cls(false, true)

    def least(self, accused: Ints) -> Floats:
        """Return the fewest members found where so many non-members are accused.

        Args:
            accused: int64 (k,), from 0 to the number of non-members.

        Returns:
            float64 (k,); between two points the curve is a straight line, because tied rows are
            accused in random order.
        """
        end = np.searchsorted(self.false, accused, side="left")
        return self._between(np.maximum(end - 1, 0), end, accused)

    def most(self, accused: Ints) -> Floats:
        """Return the most members found where so many non-members are accused.

        Args:
            accused: int64 (k,), from 0 to the number of non-members.
        """
        start = np.searchsorted(self.false, accused, side="right") - 1
        return self._between(start, np.minimum(start + 1, len(self.false) - 1), accused)

    def _between(self, start: Ints, end: Ints, accused: Ints) -> Floats:
        wide = self.false[end] - self.false[start]
        share = (accused - self.false[start]) / np.maximum(wide, 1)
        inside = self.true[start] + share * (self.true[end] - self.true[start])
        return np.where(wide > 0, inside, np.where(accused <= 0, self.true[start], self.true[end]))

    def envelope(self, accused: float) -> tuple[float, int, int]:
        """Return the upper envelope's height, and the points at both ends of its edge there.

        Args:
            accused: number of accused non-members, which need not be whole.

        Returns:
            The number of members found, and the positions of the edge's two operating points.
        """
        split = int(np.searchsorted(self.false, accused, side="left"))
        if split == 0:  # nobody may be accused
            top = int(np.searchsorted(self.false, 0, side="right")) - 1
            return float(self.true[top]), top, top
        slope = float(self.true[-1] / self.false[-1])
        height, ends = -1.0, (0, len(self.false) - 1)
        # Each pass finds the best point on either side for a slope. Lines of this slope through
        # both bound the envelope from above, the edge between them from below; its slope is next.
        # There are finitely many edges, and the bound from below never falls.
        while True:
            gain = self.true - slope * self.false
            low, high = int(gain[:split].argmax()), split + int(gain[split:].argmax())
            above = float(max(gain[low], gain[high])) + slope * accused
            if above <= height + _ROUNDING * len(gain):
                return height, *ends
            ends = low, high
            slope = float(self.true[high] - self.true[low]) / int(
                self.false[high] - self.false[low]
            )
            height = float(self.true[low]) + slope * (accused - int(self.false[low]))


def ranked(members: Floats, nonmembers: Floats) -> tuple[Ints, Ints]:
    """Return the rank of each score among the distinct scores of both groups, from 0.

    Args:
        members: float64 (m,), m > 0, without NaN.
        nonmembers: float64 (n,), n > 0, without NaN.
    """
    _, codes = np.unique(np.concatenate([members, nonmembers]), return_inverse=True)
    return codes[: len(members)], codes[len(members) :]


def coarsened(members: Floats, nonmembers: Floats, *, fpr: float, steps: int) -> tuple[Ints, Ints]:
    """Return ranks that keep all that matters for the envelope at a rate, for many resamples.

    Scores down to the twofold of the rate's place keep ranks of their own. Those below it share
    `steps` ranks, because an edge that ends so far away hardly turns by so small a step.

    Args:
        members: float64 (m,), m > 0, without NaN.
        nonmembers: float64 (n,), n > 0, without NaN.
        fpr: the rate, in (0, 1).
        steps: number of ranks below, at least 1.
    """
    m, n = ranked(members, nonmembers)
    accused = np.cumsum(np.bincount(n, minlength=1 + max(int(m.max()), int(n.max())))[::-1])[::-1]
    reach = min(len(n), int(2 * fpr * len(n)) + 50)
    group = np.minimum((len(n) - accused) * steps // max(1, len(n) - reach), steps)
    alone = accused <= reach
    group[alone] = steps + 1 + np.arange(int(alone.sum()))
    return group[m], group[n]
