"""Models in the plane of accuracy and leakage, with those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from safecompress.report.svg import Scale, path, picture, round_ticks, tag
from safecompress.report.wording import Span, with_interval

_WIDTH, _HEIGHT = 640.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 16.0, 14.0, 46.0


@dataclass(frozen=True)
class Point:
    """One model or method.

    Args:
        name: what it is called.
        leak: AUC of its strongest attack.
        accuracy: on rows it was not trained on.
        best: whether no other is at least as good in both and better in one.
        css: class of its mark.
    """

    name: str
    leak: Span
    accuracy: Span
    best: bool
    css: str


def front(points: Sequence[Point], *, identity: str) -> Markup:
    """Return the picture; up and to the left is better.

    Args:
        points: in any order; those without both figures are left out.
        identity: id of the picture, unique on the page.
    """
    drawn = [p for p in points if p.leak.value is not None and p.accuracy.value is not None]
    if not drawn:
        return Markup()
    x = _scale([v for p in drawn for v in p.leak.known] + [0.5], _LEFT, _WIDTH - _RIGHT)
    y = _scale([v for p in drawn for v in p.accuracy.known], _HEIGHT - _BOTTOM, _TOP)
    parts = _axes(x, y)
    edge = sorted((p.leak.value or 0.0, p.accuracy.value or 0.0) for p in drawn if p.best)
    parts.append(path([(x(a), y(b)) for a, b in edge], class_="front", fill="none"))
    for p in sorted(drawn, key=lambda p: p.best):
        parts.append(_marked(p, x, y))
    told = "; ".join(
        f"{p.name}: accuracy {with_interval(p.accuracy, 'percent')}, strongest attack "
        f"{with_interval(p.leak, 'auc')}{', on the front' if p.best else ''}"
        for p in drawn
    )
    return picture(
        *parts,
        identity=identity,
        width=_WIDTH,
        height=_HEIGHT,
        title="Accuracy against the strongest attack",
        description=told,
        class_="plot",
    )


def _scale(values: Sequence[float], start: float, stop: float) -> Scale:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.01
    return Scale(low - pad, high + pad, start, stop)


def _axes(x: Scale, y: Scale) -> list[Markup]:
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for value in round_ticks(x.low, x.high):
        parts.append(tag("line", class_="grid", x1=x(value), x2=x(value), y1=_TOP, y2=bottom))
        label = f"{value:.2f}".removeprefix("0")
        parts.append(
            tag("text", label, class_="tick", x=x(value), y=bottom + 16, text_anchor="middle")
        )
    for value in round_ticks(y.low, y.high):
        parts.append(
            tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(value), y2=y(value))
        )
        label = f"{100 * value:.0f}%"
        parts.append(
            tag("text", label, class_="tick", x=_LEFT - 6, y=y(value) + 4, text_anchor="end")
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(tag("line", class_="chance", x1=x(0.5), x2=x(0.5), y1=_TOP, y2=bottom))
    parts.append(
        tag(
            "text",
            "AUC of the strongest attack (0.5 is chance)",
            class_="axis",
            x=middle,
            y=_HEIGHT - 8,
            text_anchor="middle",
        )
    )
    up = (_TOP + bottom) / 2
    parts.append(
        tag(
            "text",
            "accuracy",
            class_="axis",
            x=14.0,
            y=up,
            text_anchor="middle",
            transform=f"rotate(-90 14 {up:.0f})",
        )
    )
    return parts


def _marked(p: Point, x: Scale, y: Scale) -> Markup:
    across, up = x(p.leak.value or 0.0), y(p.accuracy.value or 0.0)
    marks = []
    if p.leak.low is not None and p.leak.high is not None:
        marks.append(
            tag(
                "line",
                class_=f"whisker {p.css}",
                x1=x(p.leak.low),
                x2=x(p.leak.high),
                y1=up,
                y2=up,
            )
        )
    if p.accuracy.low is not None and p.accuracy.high is not None:
        ends = (y(p.accuracy.low), y(p.accuracy.high))
        marks.append(
            tag("line", class_=f"whisker {p.css}", x1=across, x2=across, y1=ends[0], y2=ends[1])
        )
    marks.append(tag("circle", class_=f"dot {p.css}", cx=across, cy=up, r=5.0 if p.best else 3.5))
    right = across < _WIDTH - 150
    marks.append(
        tag(
            "text",
            p.name,
            class_="label",
            x=across + (8 if right else -8),
            y=up - 6,
            text_anchor="start" if right else "end",
        )
    )
    words = (
        f"{p.name}: accuracy {with_interval(p.accuracy, 'percent')}, strongest attack "
        f"{with_interval(p.leak, 'auc')}"
    )
    return tag("g", tag("title", words), *marks)
