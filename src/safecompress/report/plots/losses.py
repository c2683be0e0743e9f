"""`Histogram` and `loss_panel`: histograms of the loss on members and on non-members.

Membership attacks exploit the difference between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from safecompress.report.svg import Scale, path, picture, round_ticks, tag
from safecompress.report.wording import figure

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 360.0, 230.0, 46.0, 44.0, 10.0, 10.0
# The page shows the height at the pointer, which is then right to a hundredth of a point.
_READABLE = 0.05


@dataclass(frozen=True)
class Histogram:
    """Bins of one model: `edges` (n + 1,) rising, heights (n,) per group as shares of its rows."""

    edges: Sequence[float]
    members: Sequence[float]
    nonmembers: Sequence[float]

    @classmethod
    def read(
        cls, edges: Sequence[float], members: Sequence[float], nonmembers: Sequence[float]
    ) -> Histogram | None:
        """Return the histogram of shares, or None where the bins cannot be drawn.

        Args:
            edges: rising edges of n bins, (n + 1,).
            members: counts of members, (n,).
            nonmembers: counts of non-members, (n,).
        """
        bins = min(len(edges) - 1, len(members), len(nonmembers))
        rising = all(a < b for a, b in pairwise(edges))
        if bins < 1 or not rising:
            return None
        shares = [_shares(counts[:bins]) for counts in (members, nonmembers)]
        return cls(edges[: bins + 1], shares[0], shares[1])

    @property
    def top(self) -> float:
        """The tallest bin."""
        return max(*self.members, *self.nonmembers)


def _shares(counts: Sequence[float]) -> list[float]:
    nonnegative = [max(0.0, c) for c in counts]
    total = sum(nonnegative) or 1.0
    return [c / total for c in nonnegative]


def loss_panel(
    histogram: Histogram,
    *,
    subject: str,
    domain: tuple[float, float],
    top: float,
    unit: str,
    identity: str,
) -> Markup:
    """Return one model's panel; members filled, non-members as an outline.

    Args:
        histogram: the bins.
        subject: the model's name.
        domain: ends of the loss axis, shared by the panels.
        top: end of the vertical axis, shared by the panels, > 0.
        unit: label of the horizontal axis, with the unit of the loss.
        identity: id of the picture, unique on the page.
    """
    x = Scale(*domain, _LEFT, _WIDTH - _RIGHT)
    y = Scale(0.0, top, _HEIGHT - _BOTTOM, _TOP)
    return picture(
        *_axes(x, y, unit),
        _outline(histogram, "members", x, y),
        _outline(histogram, "nonmembers", x, y),
        identity=identity,
        width=_WIDTH,
        height=_HEIGHT,
        title=f"Loss of the {subject} model",
        description=(
            f"Share of rows per bin of {unit}: members filled, non-members as an outline, "
            f"between {figure(domain[0], 'plain')} and {figure(domain[1], 'plain')}."
        ),
        data_x=x.words,
        data_y=y.words,
        data_reads="bins",
        data_unit=unit,
    )


def _outline(
    histogram: Histogram, group: Literal["members", "nonmembers"], x: Scale, y: Scale
) -> Markup:
    heights = histogram.members if group == "members" else histogram.nonmembers
    name = "members" if group == "members" else "non-members"
    points = _steps(histogram.edges, heights, x, y)
    return path(points, apart=_READABLE, class_=group, data_series=name)


def _steps(
    edges: Sequence[float], heights: Sequence[float], x: Scale, y: Scale
) -> list[tuple[float, float]]:
    points = [(x(edges[0]), y(0))]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        points += [(x(left), y(height)), (x(right), y(height))]
    return [*points, (x(edges[-1]), y(0))]


def _axes(x: Scale, y: Scale, unit: str) -> list[Markup]:
    parts = []
    for tick in round_ticks(0.0, y.high, most=5):
        label = figure(tick, "percent").replace(".0%", "%")
        parts += [
            tag("line", class_="grid", x1=x.start, x2=x.stop, y1=y(tick), y2=y(tick)),
            tag("text", label, class_="tick", x=x.start - 6, y=y(tick) + 4, text_anchor="end"),
        ]
    for tick in round_ticks(x.low, x.high, most=6):
        label = ("−" if tick < 0 else "") + f"{abs(tick):g}"
        parts.append(
            tag("text", label, class_="tick", x=x(tick), y=y.start + 15, text_anchor="middle")
        )
    center = (x.start + x.stop) / 2
    name = tag("text", unit, class_="axis", x=center, y=_HEIGHT - 8, text_anchor="middle")
    return [*parts, name]
