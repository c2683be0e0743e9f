"""Figures as people read them: percent for shares, `.531 [.512, .550]` for AUC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from safecompress.report.safe import mapping, number

MISSING = "–"
_LARGEST = 1e15
Style: TypeAlias = Literal["auc", "percent", "plain"]
_SHARES = (
    *("accuracy", "density", "tpr", "fpr", "tnr", "fnr", "coverage", "advantage", "precision"),
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
        """Read `{"value", "low", "high"}`, or a bare number without an interval."""
        if (bare := number(source)) is not None:
            return cls(bare, None, None)
        found: Any = mapping(source)
        return cls(number(found.get("value")), number(found.get("low")), number(found.get("high")))

    @property
    def known(self) -> tuple[float, ...]:
        """Those of the three numbers that are there."""
        return tuple(x for x in (self.low, self.value, self.high) if x is not None)


@dataclass(frozen=True)
class Value:
    """A table cell: what is shown, and the number it sorts by (empty where there is none)."""

    shown: str
    key: str = ""

    @classmethod
    def of(cls, value: float | None, shown: str) -> Value:
        """Return the cell of a figure, or of one that was not measured."""
        return cls(shown, "" if value is None else repr(value))


def style_of(measure: str) -> Style:
    """Return how a measure of this name is written.

    >>> style_of("loss.auc"), style_of("accuracy"), style_of("latency")
    ('auc', 'percent', 'plain')
    """
    name = measure.lower()
    if "auc" in name or name.startswith("control:"):
        return "auc"
    return "percent" if any(word in name for word in _SHARES) else "plain"


def figure(value: float | None, style: Style, *, signed: bool = False) -> str:
    """Write one figure.

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
    """Write a figure so finely that it does not read like a bound which it only comes near.

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
    """Write the interval in brackets, or nothing where it is unknown.

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
    """Write a figure and, where known, its interval.

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
    """Write a count with thousands separated.

    >>> count(27012)
    '27,012'
    """
    found = number(value)
    if found is None:
        return MISSING
    return f"{found:,.0f}" if abs(found) < _LARGEST else f"{found:.3g}"


def seconds(value: object) -> str:
    """Write a duration.

    >>> seconds(.004), seconds(1.234), seconds(75.2), seconds(4000)
    ('< 0.01 s', '1.23 s', '75 s', '1 h 06 min')
    """
    found = number(value)
    if found is None or found < 0:
        return MISSING
    if found < 0.01:
        return "< 0.01 s" if found else "0 s"
    if found < 120:
        return f"{found:.2f} s" if found < 10 else f"{found:.0f} s"
    if found > _LARGEST:
        return f"{found:.3g} s"
    if found < 3600:
        return f"{found // 60:.0f} min {found % 60:02.0f} s"
    return f"{found // 3600:,.0f} h {found % 3600 // 60:02.0f} min"
