"""Functions that read values of unknown types from JSON without raising.

Files of a run folder may be old, truncated, or written by other programs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_SENTENCE = 3000
"""Characters of a verdict's sentence that are shown; it may name many checks."""

# Control characters, lone surrogates, non-characters, and the marks that reorder text on screen.
_UNFIT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


def short(words: str, longest: int) -> str:
    """Return text that is cut between two words, with an ellipsis, where it is too long.

    Args:
        words: the text.
        longest: most characters of the result.

    >>> short("one two three", 9)
    'one two …'
    """
    if len(words) <= longest:
        return words
    return words[: longest - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"


def number(value: object) -> float | None:
    """Return a finite float, or None for anything else (NaN, infinity, text, null, booleans).

    Args:
        value: any JSON.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def text(value: object, *, longest: int = 300) -> str:
    r"""Return printable text of at most `longest` characters, an ellipsis where it was cut.

    Characters that are unfit for a page become U+FFFD.

    Args:
        value: text or a number; anything else becomes empty.
        longest: most characters of the result, at least 1.

    >>> text("a\x00b")
    'a�b'
    >>> text(None)
    ''
    """
    if isinstance(value, str):
        raw = value[: longest + 1]
    elif isinstance(value, int) and value.bit_length() > 128:
        raw = "a very large number"
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        raw = str(value)
    else:
        return ""
    clean = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", raw)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def mapping(value: object) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, otherwise an empty one.

    Args:
        value: any JSON.
    """
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """Return `value` if it is a list or tuple, otherwise an empty one.

    Args:
        value: any JSON.
    """
    return value if isinstance(value, list | tuple) else ()


def mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    """Return the mappings in a list, leaving out everything else.

    Args:
        value: any JSON; empty unless it is a list or tuple.
    """
    return tuple(item for item in sequence(value) if isinstance(item, Mapping))


def numbers(value: object) -> tuple[float, ...]:
    """Return a list's finite numbers; anything else in it becomes 0.

    Args:
        value: any JSON; empty unless it is a list or tuple.
    """
    return tuple(number(item) or 0.0 for item in sequence(value))
