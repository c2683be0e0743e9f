"""`drop_fraction` and `FractionPlan`: the share of weights exchanged at each mask update."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from safecompress.errors import ConfigError, did_you_mean

Schedule: TypeAlias = Literal["cosine", "linear", "constant"]

_WAY: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: (1.0 - math.cos(math.pi * progress)) / 2.0,
    "linear": lambda progress: progress,
    "constant": lambda progress: 0.0 * progress,
}
"""Per schedule a function from progress in [0, 1] to the share of the way from start to end."""


def drop_fraction(progress: float, *, start: float, end: float, schedule: str) -> float:
    """Return the share of a layer's weights to drop and grow.

    Args:
        progress: share of the mask-update period that has passed, in [0, 1].
        start: the share at progress 0, in [0, 1].
        end: the share at progress 1, in [0, 1]; `constant` ignores it.
        schedule: `cosine`, `linear` or `constant`.

    Raises:
        ConfigError: on an unknown schedule or a number outside its range.

    Reference: cosine annealing of the update fraction, Evci et al., "Rigging the Lottery", ICML
    2020, section 3.

    >>> drop_fraction(0.5, start=0.3, end=0.1, schedule="linear")
    0.2
    """
    if schedule not in _WAY:
        raise ConfigError(
            f"fraction schedule: '{schedule}' is unknown{did_you_mean(schedule, _WAY)}"
        )
    for name, value in (("progress", progress), ("start", start), ("end", end)):
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"fraction schedule: {name} is {value}; expected a number in [0, 1].")
    way = _WAY[schedule](progress)
    return (1.0 - way) * start + way * end


@dataclass(frozen=True)
class FractionPlan:
    """The share of a layer's weights dropped and grown, from the first update to the last.

    Args:
        start: the share at the first update, in (0, 1).
        end: the share at the last update, in [0, 1).
        schedule: `cosine`, `linear` or `constant`.

    Raises:
        ConfigError: on an unknown schedule or a number outside its range.
    """

    start: float = 0.3
    end: float = 0.005
    schedule: Schedule = "cosine"

    def __post_init__(self) -> None:
        _check_share("fraction", self.start, lowest_allowed=False)
        _check_share("fraction_end", self.end, lowest_allowed=True)
        self.at(0.0)

    def at(self, progress: float) -> float:
        """Return the share of a layer's weights to drop and grow.

        Args:
            progress: share of the mask-update period that has passed, in [0, 1].

        Raises:
            ConfigError: when the progress is outside [0, 1].
        """
        return drop_fraction(progress, start=self.start, end=self.end, schedule=self.schedule)


def _check_share(name: str, value: object, *, lowest_allowed: bool) -> None:
    share = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    if not (0.0 < share < 1.0 or (lowest_allowed and share == 0.0)):
        bounds = "[0, 1)" if lowest_allowed else "(0, 1)"
        raise ConfigError(f"{name} is {value!r}; expected a number in {bounds}.")
