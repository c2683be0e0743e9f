"""`Condition`, `Status`, `rows_to_settle`: thresholds as values, absolute or against dense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from safecompress.errors import ConfigError, did_you_mean
from safecompress.protocols import Estimate


class Status(StrEnum):
    """How a check ended."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    WARN = "WARN"
    ERROR = "ERROR"
    NOT_RUN = "NOT_RUN"


@dataclass(frozen=True)
class Condition:
    """A bound that an estimate's whole interval must keep.

    Args:
        relation: `at_most` or `at_least`.
        bound: the bound; for a relative condition, the allowed difference to the dense model.
        relative: whether the difference to the dense model is judged instead of the figure.
    """

    relation: Literal["at_most", "at_least"]
    bound: float
    relative: bool = False

    def judge(self, estimate: Estimate) -> Status:
        """Return PASS when the interval keeps the bound, FAIL when it misses it altogether.

        Args:
            estimate: the figure, or for a relative condition its paired difference to dense.
        """
        low, high = estimate.low, estimate.high
        if self.relation == "at_least":
            low, high, bound = -high, -low, -self.bound
        else:
            bound = self.bound
        if high <= bound:
            return Status.PASS
        return Status.FAIL if low > bound else Status.INCONCLUSIVE

    def __str__(self) -> str:
        sign = "≤" if self.relation == "at_most" else "≥"
        if not self.relative:
            return f"{sign} {self.bound:g}"
        if self.bound == 0:
            return f"{sign} dense"
        return f"{sign} dense {'+' if self.bound > 0 else '−'} {abs(self.bound):g}"


def at_most(bound: float) -> Condition:
    """The figure's interval lies at or below `bound`.

    Args:
        bound: in the unit of the figure.
    """
    return Condition("at_most", bound)


def at_least(bound: float) -> Condition:
    """The figure's interval lies at or above `bound`.

    Args:
        bound: in the unit of the figure.
    """
    return Condition("at_least", bound)


def at_most_dense(margin: float = 0.0) -> Condition:
    """The figure exceeds the dense model's by at most `margin`, on the same rows.

    Args:
        margin: in the unit of the figure.
    """
    return Condition("at_most", margin, relative=True)


def at_least_dense(margin: float = 0.0) -> Condition:
    """The figure minus the dense model's is at least `margin`, on the same rows.

    Args:
        margin: in the unit of the figure; usually negative.
    """
    return Condition("at_least", margin, relative=True)


_MOST_TIMES = 100
"""Most times as many rows that are still worth naming; beyond, the figure lies at its bound."""
_LOPSIDED = 20
"""How much further an interval reaches on one side than chance alone explains."""
_CORRECTED = 1.6
"""How much wider an interval becomes by correcting its level of 0.95 for thirty checks."""


def rows_to_settle(estimate: Estimate, condition: Condition) -> int | None:
    """Return about how many rows settle an undecided condition, if the figure stays as it is.

    The half width of an interval falls with the square root of the number of rows, so the interval
    leaves the bound once there are (half width / distance of the figure to the bound)² times as
    many. Where the interval has left the bound already and the one at the level corrected for many
    checks has not, that one counts.

    Args:
        estimate: the figure, or for a relative condition its paired difference to dense.
        condition: the condition, whose bound lies inside the interval.

    Returns:
        Members and non-members together; None where no number of rows will do. The figure then
        lies at its bound, rests on no rows, or has an interval that ignorance and not chance
        stretches to one side, such as that of a model that masks its gradients.

    >>> rows_to_settle(Estimate(0.58, 0.54, 0.62, 500, 500), at_most(0.60))
    4000
    >>> rows_to_settle(Estimate(0.60, 0.56, 0.64, 500, 500), at_most(0.60))
    """
    rows = estimate.n_members + estimate.n_nonmembers
    sides = estimate.high - estimate.value, estimate.value - estimate.low
    distance = abs(estimate.value - condition.bound)
    if not rows or not all(map(math.isfinite, (*sides, distance))):
        return None
    toward, away = sides if estimate.value <= condition.bound else sides[::-1]
    if toward > _LOPSIDED * max(away, 1 / rows):
        return None
    if toward < distance:  # only the interval at the corrected level held the bound
        return max(rows, math.ceil(rows * (_CORRECTED * toward / distance) ** 2))
    times = (toward / distance) ** 2 if distance * math.sqrt(_MOST_TIMES) > toward else math.inf
    return math.ceil(round(rows * times, 6)) if times < _MOST_TIMES else None


_MAKERS: dict[str, Callable[[float], Condition]] = {
    "at_most": at_most,
    "at_least": at_least,
    "at_most_dense": at_most_dense,
    "at_least_dense": at_least_dense,
}


def condition_from(settings: Mapping[str, float], *, where: str) -> Condition:
    """Build a condition from `{at_most: 0.55}`.

    Args:
        settings: one relation with its bound.
        where: the place in the configuration, for messages.

    Raises:
        ConfigError: on anything but exactly one known relation.
    """
    if len(settings) != 1:
        raise ConfigError(f"{where}: expected exactly one relation, got {dict(settings)}.")
    ((relation, bound),) = settings.items()
    if relation not in _MAKERS:
        raise ConfigError(
            f"{where}: unknown relation '{relation}'{did_you_mean(relation, _MAKERS)}"
        )
    return _MAKERS[relation](float(bound))
