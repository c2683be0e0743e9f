"""`Limit` and `parse_limit`: a check's condition as a number that can be drawn with its figure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from safecompress.report.safe import text
from safecompress.report.wording import Style, figure

_AT_MOST = ("at_most", "at most", "<=", "≤", "<", "below")
_AT_LEAST = ("at_least", "at least", ">=", "≥", ">", "above")
_CONDITION = re.compile(
    rf"({'|'.join((*_AT_MOST, *_AT_LEAST))})(_dense|\s*dense)?\s*"
    r"(?:([-+−]?)\s*(\d+(?:\.\d*)?|\.\d+)(e[-+]?\d+)?\s*(%?))?"
)


@dataclass(frozen=True)
class Limit:
    """A condition as a bound on a check's figure.

    Args:
        bound: the bound, in the unit of the figure; for a relative one, of the difference.
        at_most: True when figures below it are allowed, False when figures above it are.
        relative: whether the figure is a difference to the dense model's.
    """

    bound: float
    at_most: bool
    relative: bool = False


def parse_limit(condition: object) -> Limit | None:
    """Read `"≤ 0.55"`, `"≥ dense − 0.02"`, `"≤ dense"`, `{"at_most": .55}` and their like.

    Args:
        condition: the condition as it stands in verdict.json.

    Returns:
        The bound; None for every other text, also where it contains numbers.

    >>> parse_limit("≥ dense − 2%")
    Limit(bound=-0.02, at_most=False, relative=True)
    >>> parse_limit("at chance (p ≥ 0.001)")
    """
    match = _CONDITION.fullmatch(condition_words(condition).strip().lower())
    if match is None:
        return None
    relation, dense, sign, digits, exponent, percent = match.groups()
    if digits is None:
        return Limit(0.0, relation in _AT_MOST, relative=True) if dense else None
    size = float(digits + (exponent or "")) * (0.01 if percent else 1.0)
    bound = size if sign in {"", "+"} else -size
    if not math.isfinite(bound):
        return None
    return Limit(bound, relation in _AT_MOST, relative=bool(dense))


def condition_words(condition: object) -> str:
    """Return a condition as text; a mapping becomes `key value`.

    Args:
        condition: the condition as it stands in verdict.json.

    >>> condition_words({"at_most": 0.55})
    'at_most 0.55'
    """
    if isinstance(condition, Mapping):
        pairs = list(condition.items())[:4]
        return ", ".join(f"{text(key)} {text(value)}" for key, value in pairs)
    return text(condition)


def limit_words(limit: Limit, style: Style) -> str:
    """Return a bound in words, with numbers in the style of the figure.

    Args:
        limit: the bound.
        style: the style of the check's figure.

    >>> limit_words(Limit(-.05, False, relative=True), "percent")
    '≥ dense −5.0 points'
    """
    sign = "≤" if limit.at_most else "≥"
    if not limit.relative:
        return f"{sign} {figure(limit.bound, style)}"
    margin = f" {figure(limit.bound, style, signed=True)}" if limit.bound else ""
    return f"{sign} dense{margin}"
