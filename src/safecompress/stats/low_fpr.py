"""`tpr_at_fpr`, `tpr_at_fpr_interval`: members found at a fixed share of false accusations.

An attacker may toss a coin: about rows whose scores tie, and about which of two thresholds to use.
What can be reached in this way is the upper envelope (the concave hull) of the ROC's operating
points. It does not jump where scores tie, so rounding a model's outputs cannot hide a leak.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, gammaln, xlog1py, xlogy

from safecompress.stats._curve import Curve
from safecompress.stats._inputs import Floats, Ints, require_share, two_scores
from safecompress.stats._proportions import Interval, enclosing, exact, tail_of

_IGNORED = 1e-3
"""Share of a tail that the least likely numbers of false positives may hold together. Both ends of
an interval count them as if they spoke against it."""
_ROUNDING = 1e-9


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
    """Return the upper end of the height of an edge of the envelope.

    The more members both ends find and the fewer non-members they accuse, the higher is the edge.
    Each of the four rates has its Clopper-Pearson bound; MOVER joins what they add to the height.

    Reference: Zou and Donner, Statistics in Medicine 2008.
    """
    totals = (int(curve.false[-1]),) * 2 + (int(curve.true[-1]),) * 2
    counts = *(int(curve.false[i]) for i in edge), *(int(curve.true[i]) for i in edge)
    rates = [exact(k, n, tail=tail) for k, n in zip(counts, totals, strict=True)]
    at = [rate.value for rate in rates]
    moved = [rates[0].low, rates[1].low, rates[2].high, rates[3].high]
    height = _height(at, fpr)
    added = (_height([*at[:i], moved[i], *at[i + 1 :]], fpr) - height for i in range(4))
    return height + math.hypot(*(max(0.0, more) for more in added))


def _height(ends: Sequence[float], fpr: float) -> float:
    """Return the height of an edge over a rate, from the FPRs and the TPRs of both its ends."""
    start, end, low, high = ends
    if end <= max(fpr, start):
        return high
    return low + max(0.0, fpr - start) / (end - start) * (high - low)


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
    # Imported here, because it takes longer than all else that this package needs of scipy.
    from scipy.optimize import brentq

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
