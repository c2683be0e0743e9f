"""`LimitMargin`: how far a model keeps one limit, in units of the noise of its figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from safecompress.checks.check import Check
from safecompress.protocols import Estimate

_LENIENT = 2.0
"""Half widths between an interval that keeps a limit wholly and one that misses it wholly."""


@dataclass(frozen=True)
class LimitMargin:
    """One figure of a model, its limit, and the noise between the two.

    Args:
        limit: name of the check that states the limit.
        value: the figure, or its difference to the dense model; NaN where it was not measured.
        bound: the limit, in the unit of the figure.
        relation: `at_most` or `at_least`.
        noise: distance from the figure to the end of its interval that faces the limit, in the
            unit of the figure, at least 0; 0 for an exact figure.
        leak: whether a missed limit means that the model is not safe, and not only not good enough.
        decisive: whether the verdict asks that the whole interval keeps the limit. Otherwise it
            only asks that the interval does not miss it wholly.
    """

    limit: str
    value: float
    bound: float
    relation: Literal["at_most", "at_least"]
    noise: float
    leak: bool
    decisive: bool = True

    @classmethod
    def of(cls, check: Check, estimate: Estimate) -> LimitMargin:
        """Return the margin of a figure that a check limits.

        Args:
            check: the check.
            estimate: the figure that the check's condition judges.
        """
        condition = check.condition
        upper = condition.relation == "at_most"
        gap = condition.bound - estimate.value
        # The end that the limit is nearest to; of a figure at its limit the end beyond the limit.
        end = estimate.high if gap > 0 or (gap == 0 and upper) else estimate.low
        return cls(
            check.name,
            estimate.value,
            condition.bound,
            condition.relation,
            abs(end - estimate.value),
            check.measure.leak,
            check.decisive,
        )

    @classmethod
    def unknown(cls, check: Check) -> LimitMargin:
        """Return the margin of a figure that could not be measured.

        Args:
            check: the check.
        """
        condition, leak = check.condition, check.measure.leak
        nan = math.nan
        return cls(check.name, nan, condition.bound, condition.relation, nan, leak, check.decisive)

    @property
    def margin(self) -> float:
        """By how many half widths the figure keeps its limit; below 0 it misses it, NaN is unknown.

        At 1 and above the interval keeps the limit wholly, at −1 and below it misses it wholly. An
        exact figure keeps its limit by infinity or misses it by infinity.
        """
        distance = self.bound - self.value
        if self.relation == "at_least":
            distance = -distance
        if math.isnan(distance) or math.isnan(self.noise):
            return math.nan
        if self.noise == 0:
            return math.inf if distance >= 0 else -math.inf
        return distance / self.noise

    @property
    def reserve(self) -> float:
        """The margin, on a scale on which from 1 on no limit stands in the way of a PASS.

        For a limit that is not decisive that is so as soon as the interval does not miss it wholly,
        so its margin counts two half widths more.
        """
        return self.margin if self.decisive else self.margin + _LENIENT
