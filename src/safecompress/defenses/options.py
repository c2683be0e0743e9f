"""`require_share` and `require_factor`: checks of the options that many defenses have."""

from __future__ import annotations

import math

from safecompress.errors import ConfigError


def require_share(name: str, value: float, *, one: bool = True) -> None:
    """Check that an option is a share in [0, 1], or in [0, 1).

    Args:
        name: the option's name, for the message.
        value: its value.
        one: whether 1 itself is allowed.

    Raises:
        ConfigError: when the value is outside the range.
    """
    if not 0 <= value <= 1 or (value == 1 and not one):
        raise ConfigError(f"{name} is {value}; expected a share in [0, 1{']' if one else ')'}.")


def require_factor(name: str, value: float, *, zero: bool = True) -> None:
    """Check that an option is a finite number, at least 0 or above it.

    Args:
        name: the option's name, for the message.
        value: its value.
        zero: whether 0 itself is allowed.

    Raises:
        ConfigError: when the value is outside the range, infinite or NaN.
    """
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "at least" if zero else "above"
        raise ConfigError(f"{name} is {value}; expected a finite number {least} 0.")
