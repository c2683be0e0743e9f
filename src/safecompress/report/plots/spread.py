"""`spread`: one figure of all rows and of the worst group, on one axis with their limit."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from safecompress.report.plots.interval import marks
from safecompress.report.safe import text
from safecompress.report.svg import Scale, picture, tag
from safecompress.report.wording import Span, figure, with_interval

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP, _FOOT = 340.0, 126.0, 14.0, 28.0, 6.0, 34.0
_LONGEST_NAME = 20
_CHANCE = 0.5


def spread(spans: Mapping[str, Span], limit: float | None, *, identity: str) -> Markup:
    """Return the picture; empty where nothing was measured.

    Args:
        spans: AUC by whom it is about, in the order drawn.
        limit: the AUC that each may have at most; None where nothing was asked.
        identity: id of the picture, unique on the page.
    """
    known = [x for span in spans.values() for x in span.known]
    if not known:
        return Markup()
    values = [*known, _CHANCE, *([] if limit is None else [limit])]
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.01
    scale = Scale(max(low - pad, 0.0), min(high + pad, 1.0), _LEFT, _WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(spans)
    parts = [tag("line", class_="track", x1=scale.start, x2=scale.stop, y1=bottom, y2=bottom)]
    parts += _marks_of_axis(limit, scale, bottom)
    for row, (name, span) in enumerate(spans.items()):
        parts += _row(name, span, scale, _TOP + _ROW * row)
    words = "; ".join(f"{name} {with_interval(span, 'auc')}" for name, span in spans.items())
    allowed = "" if limit is None else f" At most {figure(limit, 'auc')} is allowed."
    return picture(
        *parts,
        identity=identity,
        width=_WIDTH,
        height=bottom + _FOOT,
        title="AUC of the strongest attack over all rows and in the worst group",
        description=f"{words}.{allowed}",
    )


def _marks_of_axis(limit: float | None, scale: Scale, bottom: float) -> list[Markup]:
    chance = scale(_CHANCE)
    parts = [
        tag("line", class_="chance", x1=chance, x2=chance, y1=_TOP, y2=bottom),
        _label("guessing .500", chance, bottom + 13),
    ]
    if limit is None:
        return parts
    x = scale(min(limit, scale.high))
    return [
        tag(
            "rect",
            class_="allowed",
            x=scale.start,
            y=_TOP,
            width=x - scale.start,
            height=bottom - _TOP,
        ),
        *parts,
        tag("line", class_="bound", x1=x, x2=x, y1=_TOP, y2=bottom + 4),
        _label(f"limit {figure(limit, 'auc')}", x, bottom + 28),
    ]


def _label(words: str, x: float, y: float) -> Markup:
    anchor = "end" if x > _WIDTH - 45 else "middle"
    return tag("text", words, class_="tick", x=x, y=y, text_anchor=anchor)


def _row(name: str, span: Span, scale: Scale, top: float) -> list[Markup]:
    y = top + _ROW / 2
    parts = [tag("text", text(name, longest=_LONGEST_NAME), class_="axis", x=0, y=y + 4)]
    return parts + marks(span, scale, y)
