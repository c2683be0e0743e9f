"""`front`: models in a plane of two figures, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from safecompress.report.svg import Scale, path, picture, round_ticks, tag
from safecompress.report.wording import Span, Style, with_interval

_WIDTH, _HEIGHT = 640.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 16.0, 14.0, 46.0
_LETTER, _LINE = 5.8, 11.0
"""Mean width of a letter and height of a line of names."""

_Box = tuple[float, float, float, float]
"""Left, right, top and bottom."""


@dataclass(frozen=True)
class Point:
    """One model or method.

    Args:
        name: name of the model or method.
        leak: AUC of its strongest attack, or the other figure of the horizontal axis.
        accuracy: accuracy on non-members, or the other figure of the vertical axis.
        best: whether no other is at least as good in all figures and better in one.
        css: CSS class of its mark.
    """

    name: str
    leak: Span
    accuracy: Span
    best: bool
    css: str


@dataclass(frozen=True)
class Axes:
    """The figures that the plane shows.

    Args:
        title: title of the picture.
        across: label of the horizontal axis.
        leak: a shorter name of the horizontal figure, for descriptions of points.
        leak_style: style of the horizontal figure.
        up: label of the vertical axis.
        chance: value of guessing on the horizontal axis; None draws no line.
        joined: whether the best points are joined by a line; right only where no further figure
            decides which points are best.
    """

    title: str = "Accuracy against the strongest attack"
    across: str = "AUC of the strongest attack (0.5 is chance)"
    leak: str = "strongest attack"
    leak_style: Style = "auc"
    up: str = "accuracy"
    chance: float | None = 0.5
    joined: bool = True


MEMBERSHIP = Axes()


def front(points: Sequence[Point], *, identity: str, axes: Axes = MEMBERSHIP) -> Markup:
    """Return the picture.

    Args:
        points: the points, in any order; those that lack either figure are left out.
        identity: id of the picture, unique on the page.
        axes: the figures of the axes; by default accuracy, higher is better, against AUC, lower is
            better.
    """
    drawn = [p for p in points if p.leak.value is not None and p.accuracy.value is not None]
    if not drawn:
        return Markup()
    guessing = [] if axes.chance is None else [axes.chance]
    across = [v for p in drawn for v in p.leak.known] + guessing
    x = _scale(across, _LEFT, _WIDTH - _RIGHT)
    y = _scale([v for p in drawn for v in p.accuracy.known], _HEIGHT - _BOTTOM, _TOP)
    parts = _axes(x, y, axes)
    edge = sorted((p.leak.value or 0.0, p.accuracy.value or 0.0) for p in drawn if p.best)
    if axes.joined:
        parts.append(path([(x(a), y(b)) for a, b in edge], class_="front", fill="none"))
    placed: list[_Box] = []
    # The best points get names first, while there is room, and are drawn last, on top of others.
    names = {id(p): _named(p, x, y, placed) for p in sorted(drawn, key=lambda p: not p.best)}
    for p in sorted(drawn, key=lambda p: p.best):
        parts.append(_marked(p, names[id(p)], x, y, axes))
    description = "; ".join(f"{_words(p, axes)}{', on the front' if p.best else ''}" for p in drawn)
    return picture(
        *parts,
        identity=identity,
        width=_WIDTH,
        height=_HEIGHT,
        title=axes.title,
        description=description,
        class_="plot",
    )


def _scale(values: Sequence[float], start: float, stop: float) -> Scale:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.01
    return Scale(low - pad, high + pad, start, stop)


def _axes(x: Scale, y: Scale, axes: Axes) -> list[Markup]:
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
    if axes.chance is not None:
        at = x(axes.chance)
        parts.append(tag("line", class_="chance", x1=at, x2=at, y1=_TOP, y2=bottom))
    parts.append(
        tag(
            "text",
            axes.across,
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
            axes.up,
            class_="axis",
            x=14.0,
            y=up,
            text_anchor="middle",
            transform=f"rotate(-90 14 {up:.0f})",
        )
    )
    return parts


def _words(p: Point, axes: Axes) -> str:
    return (
        f"{p.name}: {axes.up} {with_interval(p.accuracy, 'percent')}, "
        f"{axes.leak} {with_interval(p.leak, axes.leak_style)}"
    )


def _named(p: Point, x: Scale, y: Scale, placed: list[_Box]) -> Markup:
    """Return a point's name beside its mark, and add its box to `placed`.

    The result is empty where every place overlaps another name. Hovering over a mark shows the
    name of its point in any case.
    """
    across, up = x(p.leak.value or 0.0), y(p.accuracy.value or 0.0)
    width = _LETTER * len(p.name)
    for down, to_right in ((-6, True), (-6, False), (14, True), (14, False)):
        start = across + 8 if to_right else across - 8 - width
        box = (start, start + width, up + down - _LINE, up + down)
        fits = box[0] >= 0 and box[1] <= _WIDTH and box[2] >= 0
        if fits and not any(_overlap(box, other) for other in placed):
            placed.append(box)
            return tag(
                "text",
                p.name,
                class_="label",
                x=across + 8 if to_right else across - 8,
                y=up + down,
                text_anchor="start" if to_right else "end",
            )
    return Markup()


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _marked(p: Point, name: Markup, x: Scale, y: Scale, axes: Axes) -> Markup:
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
    return tag("g", tag("title", _words(p, axes)), *marks, name)
