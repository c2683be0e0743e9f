"""`require_at_least`: the check of an attack's numeric options."""

from __future__ import annotations

from safecompress.errors import ConfigError
from safecompress.protocols import Attack


def require_at_least(attack: Attack, **least: int) -> None:
    """Raise an error when an option is below its least value.

    Args:
        attack: the attack whose options are checked.
        least: least value of each option, by the option's name.

    Raises:
        ConfigError: naming the first option below its least value.
    """
    for option, smallest in least.items():
        if getattr(attack, option) < smallest:
            raise ConfigError(
                f"{option} is {getattr(attack, option)}; expected at least {smallest}."
            )
