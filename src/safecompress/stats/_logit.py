"""`logit_interval` and `widened`: the interval of an AUC on the logit scale."""

from __future__ import annotations

import math

from safecompress.stats._placements import Spread
from safecompress.stats._proportions import Interval, enclosing


def logit_interval(auc: float, around: Spread, tail: float) -> Interval:
    """Return the interval of an AUC on the logit scale, widened by the rule of three.

    Args:
        auc: the AUC, in [0, 1].
        around: its standard error and degrees of freedom.
        tail: probability beyond each end, in (0, 0.5).

    Reference: Pepe, 2003, section 5.2.
    """
    low = high = auc
    if 0 < auc < 1:
        logit = math.log(auc / (1 - auc))
        reach = around.reach(tail) / (auc * (1 - auc))
        low, high = _expit(logit - reach), _expit(logit + reach)
    return widened(Interval(auc, low, high), around, tail)


def widened(interval: Interval, around: Spread, tail: float) -> Interval:
    """Return the interval of an AUC, widened by the rule of three where a group's rows are alike.

    Args:
        interval: the interval.
        around: which groups have rows that are all or nearly all alike.
        tail: probability beyond each end, in (0, 0.5).
    """
    auc, unseen = interval.value, around.unseen(tail)
    low = auc - math.hypot(auc - interval.low, unseen)
    high = auc + math.hypot(interval.high - auc, unseen)
    return enclosing(auc, low, high, edges=(0, 1))


def _expit(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))
