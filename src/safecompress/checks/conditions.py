"""`Condition`, `Status` and `rows_to_settle`: limits as values, absolute or relative to dense."""

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


MOST_ROWS = 100.0
"""Multiple of the rows at hand beyond which no number of rows is said to settle a check."""


def rows_to_settle(estimate: Estimate, condition: Condition) -> int | None:
    """Return how many rows would settle a check if the figure stayed as it is.

    The half of the interval towards the bound shrinks with the square root of the rows, and has to
    become smaller than the distance to the bound. Close to the bound more rows do not help: there
    the answer depends on the next sample.

    Args:
        estimate: the figure, or for a relative condition its difference to the dense model.
        condition: what its interval must keep.

    Returns:
        The number of members and non-members together, in the same proportions; None where more
        than `MOST_ROWS` times the rows would be needed, or the figure is not of rows.
    """
    rows = estimate.n_members + estimate.n_nonmembers
    distance = abs(condition.bound - estimate.value)
    towards_high = estimate.value <= condition.bound
    half = estimate.high - estimate.value if towards_high else estimate.value - estimate.low
    if rows == 0 or half >= distance * math.sqrt(MOST_ROWS):
        return None
    return max(rows, math.ceil(rows * (half / distance) ** 2))


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
