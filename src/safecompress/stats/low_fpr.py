"""`tpr_at_fpr`, `tpr_at_fpr_interval`: members found at a fixed share of false accusations.

An attacker may toss a coin: about rows whose scores tie, and about which of two thresholds to use.
What can be reached in this way is the upper envelope (the concave hull) of the ROC's operating
points. It does not jump where scores tie, so rounding a model's outputs cannot hide a leak.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betainc, gammaln, xlog1py, xlogy

from safecompress.stats._inputs import Floats, Ints, require_share, two_scores
from safecompress.stats._proportions import Interval, enclosing, exact, tail_of

_IGNORED = 1e-3
"""Share of a tail that the least likely numbers of false positives may hold together. Both ends of
an interval count them as if they spoke against it."""
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
        counts = (np.bincount(side, minlength=size)[::-1] for side in (nonmembers, members))
        false, true = (np.concatenate([[0], np.cumsum(count)]) for count in counts)
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


def coarsened(
    members: Floats, nonmembers: Floats, *, fpr: float, steps: int = 1_000
) -> tuple[Ints, Ints]:
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


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, *, fpr: float) -> float:
    """Return the TPR of the best attacker by this score whose FPR is `fpr` on average.

    It is the height of the ROC's upper envelope: the attacker may toss a coin about tied rows and
    between two thresholds. It is never below the TPR of a threshold (`realized_tpr_at_fpr`) nor
    below the ROC with its points joined by straight lines.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).
        fpr: share of non-members guessed to be members, in [0, 1].

    Returns:
        TPR in [0, 1]; higher means a worse leak.

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.
        ConfigError: when `fpr` is outside [0, 1].

    Reference: Provost and Fawcett, Machine Learning 2001, section 3, the ROC convex hull.

    >>> tpr_at_fpr([1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], fpr=0.125)
    0.25
    """
    m, n = two_scores(members, nonmembers, "tpr_at_fpr")
    require_share(fpr, "fpr")
    return Curve.of(m, n).envelope(fpr * len(n))[0] / len(m)


def tpr_at_fpr_interval(
    members: ArrayLike, nonmembers: ArrayLike, *, fpr: float, level: float = 0.95
) -> Interval:
    """Return the TPR at a fixed FPR with an interval that allows for the threshold's error, too.

    How many non-members lie above the true threshold is binomial, whatever the scores are. For
    each such number, the members beyond the non-member in that place give the Clopper-Pearson
    tails of the TPR; the interval's ends are where the tails, averaged over the numbers, reach
    (1 - level) / 2. Tied rows count in random order, rounded outwards by a row on both sides. The
    upper end is also above the envelope's edge at the rate with both ends moved up by their errors.
    Any number of rows will do; with few the interval is wide.

    Args:
        members: scores (m,), infinities allowed.
        nonmembers: scores (n,).
        fpr: share of non-members guessed to be members, in (0, 1).
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.
        ConfigError: when `fpr` is not a share.
    """
    tail = tail_of(level)
    require_share(fpr, "fpr", open_ended=True)
    m, n = two_scores(members, nonmembers, "tpr_at_fpr_interval")
    curve = Curve.of(m, n)
    height, left, right = curve.envelope(fpr * len(n))
    high = max(_upper_end(curve, fpr, tail), _upper_edge(curve, (left, right), fpr, tail))
    return enclosing(height / len(m), _lower_end(curve, fpr, tail), high, edges=(0, 1))


def _upper_edge(curve: Curve, edge: tuple[int, int], fpr: float, tail: float) -> float:
    """Return the greatest height of an edge of the envelope whose ends are known up to chance.

    The higher both ends lie and the fewer non-members they accuse, the higher is the edge. Each of
    the four rates has its Clopper-Pearson bound at a quarter of the tail.
    """
    total, found = int(curve.false[-1]), int(curve.true[-1])
    start, end = (exact(int(curve.false[i]), total, tail=tail / 4).low for i in edge)
    low, high = (exact(int(curve.true[i]), found, tail=tail / 4).high for i in edge)
    if end <= fpr:
        return high
    start = min(start, fpr)
    return low + (fpr - start) / (end - start) * (high - low)


def _upper_end(curve: Curve, fpr: float, tail: float) -> float:
    """Return the TPR above which the averaged tail is at most `tail`."""
    total, found = int(curve.false[-1]), int(curve.true[-1])
    accused, weights = _accusations(total, fpr, tail)
    beyond = np.where(
        accused < total, np.ceil(curve.least(np.minimum(accused + 1, total)) - _ROUNDING), found
    )
    rest = max(0.0, 1 - weights.sum())
    # A bound of 1 for certain numbers keeps their whole weight in the tail.
    certain = rest + float(weights[beyond >= found].sum())
    if certain >= tail:
        return 1.0
    short = beyond < found
    a, b, p = beyond[short] + 1, found - beyond[short], weights[short]
    return _root(lambda x: certain + float(p @ betainc(b, a, 1 - x)) - tail)


def _lower_end(curve: Curve, fpr: float, tail: float) -> float:
    """Return the TPR below which the averaged tail is at most `tail`."""
    found = int(curve.true[-1])
    accused, weights = _accusations(int(curve.false[-1]), fpr, tail)
    surely = np.where(
        accused > 0, np.floor(curve.most(np.maximum(accused - 1, 0)) + _ROUNDING), 0.0
    )
    certain = max(0.0, 1 - weights.sum()) + float(weights[surely <= 0].sum())
    if certain >= tail:
        return 0.0
    some = surely > 0
    a, b, p = surely[some], found - surely[some] + 1, weights[some]
    return _root(lambda x: certain + float(p @ betainc(a, b, x)) - tail)


def _root(function: Callable[[float], float]) -> float:
    return float(brentq(function, 0.0, 1.0, xtol=1e-9))


def _accusations(total: int, fpr: float, tail: float) -> tuple[Ints, Floats]:
    """Return numbers of non-members above the true threshold, and the probability of each."""
    reach = 40 + 8 * math.sqrt(total * fpr * (1 - fpr))
    first, last = math.floor(total * fpr - reach), math.ceil(total * fpr + reach)
    numbers = np.arange(max(first, 0), min(last, total) + 1)
    ways = gammaln(total + 1) - gammaln(numbers + 1) - gammaln(total - numbers + 1)
    weights = np.exp(ways + xlogy(numbers, fpr) + xlog1py(total - numbers, -fpr))
    likely = weights > _IGNORED * tail / len(weights)
    return numbers[likely], weights[likely]
