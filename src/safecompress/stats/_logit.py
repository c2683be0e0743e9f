"""`logit_interval`: the interval of an AUC on the logit scale."""

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
    unseen = around.unseen(tail)
    low, high = auc - math.hypot(auc - low, unseen), auc + math.hypot(high - auc, unseen)
    return enclosing(auc, low, high, edges=(0, 1))


def _expit(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))
