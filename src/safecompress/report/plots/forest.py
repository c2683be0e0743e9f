"""`forest`: the same figure of several models, each with its interval, on one axis."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from safecompress.report.plots.subjects import css_class
from safecompress.report.svg import Scale, picture, tag
from safecompress.report.wording import Span, Style, figure, with_interval

_WIDTH, _MARGIN, _ROW = 170.0, 12.0, 13.0


def forest(
    spans: Mapping[str, Span],
    *,
    style: Style,
    domain: tuple[float, float],
    identity: str,
    limit: float | None = None,
) -> Markup:
    """Return one row of marks per model.

    Args:
        spans: figures by model, in the order drawn.
        style: how the figures are written.
        domain: ends of the axis, shared by rows that may be compared.
        identity: id of the picture, unique on the page.
        limit: what the figure of the judged model may be at most or at least; None where no check
            says so.
    """
    if not any(span.value is not None for span in spans.values()):
        return Markup()
    low, high = domain
    scale = Scale(low, high, _MARGIN, _WIDTH - _MARGIN)
    height = _ROW * len(spans) + 20
    bottom = height - 15
    parts = [tag("line", class_="track", x1=scale.start, x2=scale.stop, y1=bottom, y2=bottom)]
    if style == "auc" and low <= 0.5 <= high:
        middle = scale(0.5)
        parts.append(tag("line", class_="chance", x1=middle, x2=middle, y1=2, y2=bottom))
    if limit is not None:
        parts.append(
            tag("line", class_="bound", x1=scale(limit), x2=scale(limit), y1=2, y2=bottom + 3)
        )
    for value, anchor in ((low, "start"), (high, "end")):
        parts.append(
            tag(
                "text",
                figure(value, style),
                class_="tick",
                x=scale(value),
                y=height - 3,
                text_anchor=anchor,
            )
        )
    descriptions = []
    for row, (name, span) in enumerate(spans.items()):
        words = f"{name} {with_interval(span, style)}"
        marks = _marks(span, scale, y=_ROW * (row + 0.5), css=css_class(name))
        area = tag("rect", class_="area", x=0, y=_ROW * row, width=_WIDTH, height=_ROW)
        parts.append(tag("g", tag("title", words), area, *marks, data_series=name))
        descriptions.append(words)
    return picture(
        *parts,
        identity=identity,
        width=_WIDTH,
        height=height,
        title="Figures of the models side by side",
        description="; ".join(descriptions)
        + ("" if limit is None else f"; limit {figure(limit, style)}"),
    )


def _marks(span: Span, scale: Scale, *, y: float, css: str) -> list[Markup]:
    marks = []
    if span.low is not None and span.high is not None:
        marks.append(
            tag(
                "line", class_=f"whisker {css}", x1=scale(span.low), x2=scale(span.high), y1=y, y2=y
            )
        )
    if span.value is not None:
        marks.append(_dot(css, scale(span.value), y))
    return marks


def _dot(css: str, x: float, y: float) -> Markup:
    """Return a mark whose shape, not only its color, tells the model."""
    if css == "s-dense":
        return tag("rect", class_=f"dot {css}", x=x - 4, y=y - 4, width=8, height=8)
    if css == "s-magnitude":
        corners = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}"
        return tag("polygon", class_=f"dot {css}", points=corners)
    return tag("circle", class_=f"dot {css}", cx=x, cy=y, r=4.5)
