"""`SmallestMargin`: the objective that ranks candidates by the limits of the verdict's suite.

A user states limits once. The search then looks for the model that keeps all of them with most to
spare, so that nothing is chosen for a figure that nobody asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from safecompress.checks.check import Check, named_check
from safecompress.checks.conditions import at_least_dense
from safecompress.checks.margins import LimitMargin
from safecompress.checks.measures import Measure
from safecompress.checks.objectives import OBJECTIVES, Objective, Outcome, Ranked
from safecompress.checks.suite import Suite
from safecompress.errors import ConfigError

First = Literal["all", "worth", "leaks"]

Key = tuple[float | tuple[float, ...], ...]


@dataclass(frozen=True)
class SmallestMargin(Objective):
    """The largest of the smallest margins by which candidates keep the limits of the verdict.

    A margin is the distance of a figure to its limit in half widths of its interval, so a noisy
    figure counts for less than a precise one. Candidates with the same smallest margin are compared
    by the next smallest one, and so on, so that a limit which all keep alike decides nothing. A
    candidate with a figure that could not be measured comes behind all others.

    Args:
        first: which limits come first: `all` takes them together; `worth` those of what the model
            is worth, such as its accuracy; `leaks` those of what it leaks. The other limits then
            decide among candidates that keep the first ones by `enough`.
        enough: margin in half widths from which limits that come first count as kept. At 0 the
            figure itself keeps the limit, at 1 its whole interval does.
        loss: most that the figure of `steer.worth` may lie below the dense model's, in [0, 1], as a
            further limit. None sets none besides those of the verdict.

    Raises:
        ConfigError: when an option is out of range.
    """

    reads_limits: ClassVar[bool] = True

    first: First = "all"
    enough: float = 1.0
    loss: float | None = None

    def __post_init__(self) -> None:
        if self.first not in get_args(First):
            raise ConfigError(f"first is {self.first!r}; expected {', '.join(get_args(First))}.")
        if not math.isfinite(self.enough):
            raise ConfigError(f"enough is {self.enough}; expected a number of half widths.")
        if self.loss is not None and not 0 <= self.loss <= 1:
            raise ConfigError(f"loss must lie in [0, 1], got {self.loss}.")

    def limits(self, suite: Suite, *, worth: Measure) -> tuple[Check, ...]:
        critical = tuple(check for check in suite.checks if check.critical)
        if self.loss is None:
            return critical
        own = named_check(worth, at_least_dense(0.0 - self.loss))
        return (own, *(check for check in critical if check.name != own.name))

    def rank(self, outcomes: Sequence[Outcome]) -> list[Ranked]:
        keys = [self._key(outcome.margins) for outcome in outcomes]
        order = sorted(range(len(outcomes)), key=keys.__getitem__)
        return [
            Ranked(i, self._score(outcomes[i].margins), self._reason(outcomes[i].margins))
            for i in order
        ]

    def _tiers(self, margins: Sequence[LimitMargin]) -> list[list[float]]:
        """Return the measured reserves of each tier in rising order, capped in all but the last."""
        known = [m for m in margins if not math.isnan(m.reserve)]
        if self.first == "all":
            return [sorted(m.reserve for m in known)]
        leaks_first = self.first == "leaks"
        return [
            sorted(min(m.reserve, self.enough) for m in known if m.leak == leaks_first),
            sorted(m.reserve for m in known if m.leak != leaks_first),
        ]

    def _key(self, margins: Sequence[LimitMargin]) -> Key:
        """Return what candidates are sorted by, the smallest key first."""
        unknown = float(sum(math.isnan(m.reserve) for m in margins))
        every = sorted(m.reserve for m in margins if not math.isnan(m.reserve))
        tiers = [*self._tiers(margins), every]
        return (unknown, *(tuple(-reserve for reserve in tier) for tier in tiers))

    def _score(self, margins: Sequence[LimitMargin]) -> float:
        """Return one number that rises with the smallest margins of the tiers, in their order."""
        if any(math.isnan(m.reserve) for m in margins):
            return -math.inf
        first, *rest = [min(tier, default=math.inf) for tier in self._tiers(margins)]
        if not rest or first < self.enough:
            return first
        # The second tier decides from here on. Its margin is squeezed into (0, 2), above all scores
        # of candidates that do not keep the first limits by enough.
        return self.enough + 1.0 + 2.0 / math.pi * math.atan(rest[0])

    def _reason(self, margins: Sequence[LimitMargin]) -> str:
        if not margins:
            return "no limit was measured"
        for margin in margins:
            if math.isnan(margin.reserve):
                return f"no figure for '{margin.limit}'"
        deciding = list(margins)
        if self.first != "all":
            own = [m for m in margins if m.leak == (self.first == "leaks")]
            missed = any(m.reserve < self.enough for m in own)
            deciding = own if missed else [m for m in margins if m not in own]
        if not deciding:
            return "every limit that comes first is kept"
        least = min(deciding, key=lambda m: m.reserve)
        return (
            f"least margin {least.margin:+.2f} half widths: '{least.limit}', {least.value:.4f} "
            f"± {least.noise:.4f}"
        )


OBJECTIVES.add(
    "margin",
    SmallestMargin,
    summary="largest of the smallest margins to the verdict's limits, in units of their noise",
    cost="that of the suite's measures on the steering rows, once a candidate",
)
