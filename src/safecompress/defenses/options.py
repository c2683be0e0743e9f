"""Ranges that options of defenses share."""

from __future__ import annotations

import math

from safecompress.errors import ConfigError


def require_share(name: str, value: float, *, one: bool = True) -> None:
    """Raise ConfigError when a share is outside [0, 1], or is 1 where `one` is not allowed."""
    if not 0 <= value <= 1 or (value == 1 and not one):
        raise ConfigError(f"{name} is {value}; expected a share in [0, 1{']' if one else ')'}.")


def require_factor(name: str, value: float, *, zero: bool = True) -> None:
    """Raise ConfigError when a factor is not a finite number, at least (or above) 0."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "at least" if zero else "above"
        raise ConfigError(f"{name} is {value}; expected a finite number {least} 0.")
