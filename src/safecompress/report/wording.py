"""Figures in words: percent for shares, `.531 [.512, .550]` for AUC, durations, counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from safecompress.report.safe import mapping, number

MISSING = "–"
_LARGEST = 1e15
Style: TypeAlias = Literal["auc", "percent", "plain"]
_SHARES = (
    *("accuracy", "density", "tpr", "fpr", "tnr", "fnr", "coverage", "advantage", "precision"),
    *("recall", "macro-f1", "gain-over-majority"),
    ".rate",
)


@dataclass(frozen=True)
class Span:
    """A figure and its interval as read from a file; None where it was not measured."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def read(cls, source: object) -> Span:
        """Read `{"value", "low", "high"}`, or a bare number without an interval.

        Args:
            source: any JSON.
        """
        if (bare := number(source)) is not None:
            return cls(bare, None, None)
        entry: Any = mapping(source)
        return cls(number(entry.get("value")), number(entry.get("low")), number(entry.get("high")))

    @property
    def known(self) -> tuple[float, ...]:
        """The numbers among the three that are not None."""
        return tuple(x for x in (self.low, self.value, self.high) if x is not None)


@dataclass(frozen=True)
class Value:
    """A table cell: what is shown, and the number it sorts by (empty where there is none)."""

    shown: str
    key: str = ""

    @classmethod
    def of(cls, value: float | None, shown: str) -> Value:
        """Return the cell of a figure.

        Args:
            value: the number to sort by; None where it was not measured.
            shown: the text of the cell.
        """
        return cls(shown, "" if value is None else repr(value))


def style_of(measure: str) -> Style:
    """Return the style in which a measure's figures are written.

    Args:
        measure: name of the measure, or of its check.

    >>> style_of("loss.auc"), style_of("accuracy"), style_of("latency")
    ('auc', 'percent', 'plain')
    """
    name = measure.lower()
    if "auc" in name or name.startswith("control:"):
        return "auc"
    return "percent" if any(word in name for word in _SHARES) else "plain"


def figure(value: float | None, style: Style, *, signed: bool = False) -> str:
    """Return one figure in words.

    Args:
        value: the figure; None where it was not measured.
        style: AUC without a leading zero, percent, or a plain number.
        signed: whether it is a difference: a plus sign is written, and percent become points.

    >>> figure(.5312, "auc"), figure(.7119, "percent"), figure(-.008, "percent", signed=True)
    ('.531', '71.2%', '−0.8 points')
    """
    if value is None:
        return MISSING
    if abs(value) > _LARGEST:
        return f"{value:.3g}"
    written = _digits(value, style, signed=signed)
    return written + (" points" if style == "percent" and signed else "")


def beside(value: float | None, bound: float, style: Style) -> str:
    """Return a figure with as many digits as tell it from a bound that it is close to.

    Args:
        value: the figure; None where it was not measured.
        bound: the bound, in the same unit.
        style: as in `figure`.

    >>> beside(.0500077, .05, "percent"), beside(.049, .05, "percent"), beside(.6001, .6, "auc")
    ('5.001%', '4.9%', '.6001')
    """
    written = figure(value, style)
    if value is None or value == bound or written != figure(bound, style):
        return written
    scale, unit = (100, "%") if style == "percent" else (1, "")
    for decimals in range(2, 12):
        finer, limit = (f"{scale * x:.{decimals}f}" for x in (value, bound))
        if finer != limit:
            return (finer.removeprefix("0") if style == "auc" else finer).replace("-", "−") + unit
    return written


def interval(span: Span, style: Style, *, signed: bool = False) -> str:
    """Return the interval in brackets; empty where it is unknown or a point.

    Args:
        span: the figure with its interval.
        style: as in `figure`.
        signed: as in `figure`.

    >>> interval(Span(.53, .512, .55), "auc")
    '[.512, .550]'
    """
    if span.low is None or span.high is None or span.low == span.high == span.value:
        return ""
    low, high = (
        figure(x, style, signed=signed).removesuffix(" points") for x in (span.low, span.high)
    )
    return f"[{low}, {high}]"


def with_interval(span: Span, style: Style, *, signed: bool = False) -> str:
    """Return a figure and, where known, its interval.

    Args:
        span: the figure with its interval.
        style: as in `figure`.
        signed: as in `figure`.

    >>> with_interval(Span(-.008, -.019, .003), "percent", signed=True)
    '−0.8 points [−1.9, +0.3]'
    """
    return (
        f"{figure(span.value, style, signed=signed)} {interval(span, style, signed=signed)}".strip()
    )


def _digits(value: float, style: Style, *, signed: bool) -> str:
    size = abs(value)
    if style == "auc":
        written = f"{size:.3f}".removeprefix("0") if size < 1e6 else f"{size:.3g}"
    elif style == "percent":
        written = _percent_digits(size) + ("" if signed else "%")
    else:
        written = f"{size:,.0f}" if size >= 1000 and size < 1e12 else f"{size:.3g}"
    if not any(c in "123456789" for c in written):
        return written
    return ("−" if value < 0 else "+" if signed else "") + written


def _percent_digits(size: float) -> str:
    if size == 0 or 0.01 <= size < 0.995 or 1 <= size < 1e6:
        return f"{100 * size:.1f}"
    if size < 0.01:
        return f"{100 * size:.2g}" if size < 0.001 else f"{100 * size:.1f}"
    return f"{100 * size:.2f}" if size < 1 else f"{100 * size:.3g}"


def count(value: object) -> str:
    """Return a count with thousands separated.

    Args:
        value: any JSON; a dash is returned for everything but finite numbers.

    >>> count(27012)
    '27,012'
    """
    n = number(value)
    if n is None:
        return MISSING
    return f"{n:,.0f}" if abs(n) < _LARGEST else f"{n:.3g}"


def seconds(value: object) -> str:
    """Return a duration in words.

    Args:
        value: seconds, at least 0; a dash is returned for anything else.

    >>> seconds(.004), seconds(1.234), seconds(75.2), seconds(4000)
    ('< 0.01 s', '1.23 s', '75 s', '1 h 06 min')
    """
    length = number(value)
    if length is None or length < 0:
        return MISSING
    if length < 0.01:
        return "< 0.01 s" if length else "0 s"
    if length < 120:
        return f"{length:.2f} s" if length < 10 else f"{length:.0f} s"
    if length > _LARGEST:
        return f"{length:.3g} s"
    if length < 3600:
        return f"{length // 60:.0f} min {length % 60:02.0f} s"
    return f"{length // 3600:,.0f} h {length % 3600 // 60:02.0f} min"


def moment(value: str) -> str:
    """Return a time in UTC as people write it; any other text as it is.

    Args:
        value: a time as provenance holds it.

    >>> moment("2026-05-04T21:52:54+00:00")
    '2026-05-04 21:52 UTC'
    """
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[\d.]+\+00:00$", r"\1 \2 UTC", value)
