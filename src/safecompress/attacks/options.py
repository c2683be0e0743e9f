"""Numbers among an attack's options."""

from __future__ import annotations

from safecompress.errors import ConfigError
from safecompress.protocols import Attack


def require_at_least(attack: Attack, **least: int) -> None:
    """Refuse options below their least value.

    Raises:
        ConfigError: naming the first one.
    """
    for option, smallest in least.items():
        if getattr(attack, option) < smallest:
            raise ConfigError(
                f"{option} is {getattr(attack, option)}; expected at least {smallest}."
            )
