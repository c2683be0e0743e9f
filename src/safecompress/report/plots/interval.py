"""`interval_bar`, `marks`: a figure with its interval, against the bound that it must keep."""

from __future__ import annotations

from markupsafe import Markup

from safecompress.report.conditions import Limit
from safecompress.report.svg import Scale, picture, tag
from safecompress.report.wording import Span, Style, figure, with_interval

_WIDTH, _HEIGHT, _MARGIN, _LINE = 190.0, 36.0, 10.0, 12.0
_LEAST_PAD = 0.01


def interval_bar(span: Span, limit: Limit | None, *, style: Style, identity: str) -> Markup:
    """Return the picture; empty where there is neither a bound nor an interval to draw.

    The bar spans the interval; the check passes if it lies on the tinted side of the tick.

    Args:
        span: the figure with its interval.
        limit: the bound; None where it is unknown.
        style: style of the figure.
        identity: id of the picture, unique on the page.
    """
    if span.value is None or (limit is None and span.low == span.high):
        return Markup()
    signed = limit is not None and limit.relative
    scale = _scale(span, limit)
    parts = [
        tag("line", class_="track", x1=scale.start, x2=scale.stop, y1=_LINE, y2=_LINE),
        *(_bound(limit, scale, style) if limit is not None else ()),
        *marks(span, scale, _LINE),
    ]
    written = with_interval(span, style, signed=signed)
    rule = (
        ""
        if limit is None
        else (
            f"; to lie at or {'below' if limit.at_most else 'above'} "
            f"{figure(limit.bound, style, signed=signed)}"
        )
    )
    return picture(
        *parts,
        identity=identity,
        width=_WIDTH,
        height=_HEIGHT,
        # Browsers show the title on hover, so the figures belong here.
        title=f"{written}{rule}",
        description="The figure as a dot, its interval as a bar, the bound as a tick.",
    )


def _scale(span: Span, limit: Limit | None) -> Scale:
    values = [*span.known, *([] if limit is None else [limit.bound])]
    low, high = min(values), max(values)
    largest = max(abs(low), abs(high))
    # The padding has a minimum, so that a tiny gap does not fill the picture.
    pad = max(0.3 * (high - low), min(0.2 * largest, _LEAST_PAD)) or _LEAST_PAD
    return Scale(low - pad, high + pad, _MARGIN, _WIDTH - _MARGIN)


def _bound(limit: Limit, scale: Scale, style: Style) -> list[Markup]:
    x = scale(limit.bound)
    left, right = (scale.start, x) if limit.at_most else (x, scale.stop)
    anchor = "start" if x < 45 else "end" if x > _WIDTH - 45 else "middle"
    label = figure(limit.bound, style, signed=limit.relative)
    return [
        tag("rect", class_="allowed", x=left, y=_LINE - 8, width=right - left, height=16, rx=3),
        tag("line", class_="bound", x1=x, x2=x, y1=_LINE - 11, y2=_LINE + 11),
        tag("text", label, class_="tick", x=x, y=_HEIGHT - 2, text_anchor=anchor),
    ]


def marks(span: Span, scale: Scale, y: float) -> list[Markup]:
    """Return an interval as a bar and its estimate as a dot.

    Args:
        span: the interval; what it lacks is not drawn.
        scale: of the horizontal axis.
        y: height of both in the plot, in pixels.
    """
    drawn = []
    if span.low is not None and span.high is not None:
        left, right = sorted((scale(span.low), scale(span.high)))
        drawn.append(
            tag(
                "rect",
                class_="range",
                x=left,
                y=y - 3,
                width=max(right - left, 1.0),
                height=6,
                rx=3,
            )
        )
    if span.value is not None:
        drawn.append(tag("circle", class_="value", cx=scale(span.value), cy=y, r=4.5))
    return drawn
