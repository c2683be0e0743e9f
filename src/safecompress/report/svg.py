"""`tag`, `picture`, `path` and `Scale`: SVG elements, scales and ticks; the stylesheet colors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return one element; children and attribute values are escaped unless they are markup.

    Args:
        name: name of the element.
        children: text, which is escaped, or markup.
        attributes: attributes by name. A trailing underscore is dropped, other underscores become
            hyphens, and attributes of value None are left out.

    >>> tag("text", "a<b", x=1.0, text_anchor="end")
    Markup('<text x="1" text-anchor="end">a&lt;b</text>')
    """
    opening = Markup("").join(
        Markup(' {}="{}"').format(key.removesuffix("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    body = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, opening, body)


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else coordinate(value)


def coordinate(value: float) -> str:
    """Return a coordinate with at most two decimals, without trailing zeros.

    Args:
        value: the coordinate, in px.

    >>> coordinate(12.3456), coordinate(-0.001)
    ('12.35', '0')
    """
    written = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def picture(
    *children: str,
    identity: str,
    width: float,
    height: float,
    title: str,
    description: str,
    **attributes: str | float | None,
) -> Markup:
    """Return an image with a title and a description for screen readers.

    Args:
        children: the elements of the image.
        identity: id of the element, unique on the page.
        width: width of the image and of its coordinates, in px.
        height: height of the image and of its coordinates, in px.
        title: what the image is.
        description: what the image shows.
        attributes: further attributes of the element, as in `tag`.
    """
    names = f"{identity}-title {identity}-desc"
    return tag(
        "svg",
        tag("title", title, id=f"{identity}-title"),
        tag("desc", description, id=f"{identity}-desc"),
        *children,
        id=identity,
        role="img",
        aria_labelledby=names,
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        **attributes,
    )


def path(
    points: Iterable[tuple[float, float]],
    *,
    apart: float = 0.5,
    **attributes: str | float | None,
) -> Markup:
    """Return a line through `points`, leaving out points nearer than `apart` px to the last.

    Args:
        points: points in the coordinates of the image, in px.
        apart: smallest distance of drawn points, in px. Where the page's script reads figures back
            from the line, it must be small enough for their digits.
        attributes: attributes of the element, as in `tag`.
    """
    kept: list[tuple[float, float]] = []
    skipped: tuple[float, float] | None = None
    for x, y in points:
        if kept and math.hypot(x - kept[-1][0], y - kept[-1][1]) < apart:
            skipped = (x, y)
        else:
            kept.append((x, y))
            skipped = None
    if skipped is not None:
        kept.append(skipped)
    drawn = "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in kept) if kept else ""
    return tag("path", d=drawn, **attributes)


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map from [low, high] to [start, stop] px; values outside are clipped.

    A linear range of width 0 is drawn in the middle.

    Args:
        low: lower end of the data; above 0 when logarithmic.
        high: upper end of the data; above `low` when logarithmic.
        start: coordinate of `low`, in px.
        stop: coordinate of `high`, in px.
        logarithmic: whether equal ratios, not equal differences, have equal distances.
    """

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of `value`, in px."""
        clipped = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(clipped / self.low) / math.log(self.high / self.low)
        else:
            width = self.high - self.low
            share = (clipped - self.low) / width if 0 < width < math.inf else 0.5
        return self.start + share * (self.stop - self.start)

    @property
    def words(self) -> str:
        """The scale as an attribute, so that the page's script can read figures back."""
        ends = (coordinate(self.start), coordinate(self.stop))
        kind = "log" if self.logarithmic else "linear"
        return f"{self.low!r} {self.high!r} {ends[0]} {ends[1]} {kind}"


def decades(low: float, high: float) -> list[float]:
    """Return the powers of ten in [low, high], at most about twelve of them.

    Args:
        low: lower end, above 0.
        high: upper end.

    >>> decades(0.004, 1)
    [0.01, 0.1, 1.0]
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, (last - first) // 10)
    return [float(f"1e{power}") for power in range(first, last + 1, step)]


def round_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return evenly spaced round values in [low, high].

    Args:
        low: lower end.
        high: upper end; `low` alone is returned where it is not above `low`.
        most: approximate number of intervals between them.

    >>> round_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not 0 < high - low < math.inf:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    ticks = [float(f"{(first + i) * step:.12g}") for i in range(most + 2)]
    return [tick for tick in ticks if tick <= high + step * 1e-6]
