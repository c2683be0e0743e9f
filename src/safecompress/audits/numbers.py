"""`whole` and `number`: numbers of Python and NumPy as Python's own."""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import Any

from safecompress.errors import ConfigError


def whole(value: Any, name: str) -> int:
    """Return a whole number that is not negative, as Python's own.

    Args:
        value: an int or a NumPy integer.
        name: the argument's name in messages.

    Raises:
        ConfigError: on anything else, True and False among it.
    """
    try:
        found = operator.index(value)
    except TypeError as error:
        raise ConfigError(
            f"{name}: got {value!r:.80} ({type(value).__name__}); expected a whole number, at "
            "least 0."
        ) from error
    if isinstance(value, bool) or found < 0:
        raise ConfigError(f"{name}: got {value!r}; expected a whole number, at least 0.")
    return found


def number(value: Any, name: str) -> float:
    """Return a number as Python's own float.

    Args:
        value: a number of Python or NumPy.
        name: the argument's name in messages.

    Raises:
        ConfigError: on anything else, texts and booleans among it.
    """
    # A float32 of 0.95 means 0.95; its float64 would print further digits.
    short = str(value) if type(value).__module__ == "numpy" else value
    if not isinstance(value, str | bytes | bool) and hasattr(value, "__float__"):
        with suppress(TypeError, ValueError):
            return float(short)
    raise ConfigError(f"{name}: got {value!r:.80} ({type(value).__name__}); expected a number.")
