"""`bar`: small bars inside table cells, whose text says the same in numbers."""

from __future__ import annotations

from markupsafe import Markup

from safecompress.report.svg import tag

_WIDTH, _HEIGHT = 160.0, 14.0


def bar(share: float | None, *, reached: float | None = None) -> Markup:
    """Return a bar of `share` of the full width, with a lighter one behind it up to `reached`.

    The bar is hidden from screen readers, because the numbers stand beside it.

    Args:
        share: length of the bar, in [0, 1]; None draws nothing.
        reached: length of the lighter bar, in [0, 1]; None draws none.
    """
    if share is None:
        return Markup()
    parts = [tag("rect", class_="trough", x=0, y=1, width=_WIDTH, height=_HEIGHT - 2, rx=3)]
    if reached is not None:
        parts.append(_filled("reached", reached))
    parts.append(_filled("filled", share))
    return tag(
        "svg",
        *parts,
        class_="bar",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        width=_WIDTH,
        height=_HEIGHT,
        aria_hidden="true",
    )


def _filled(css: str, share: float) -> Markup:
    width = min(max(share, 0.0), 1.0) * _WIDTH
    # Tiny shares keep a visible width, so that they differ from 0.
    width = max(width, 1.5) if share > 0 else 0.0
    return tag("rect", class_=css, x=0, y=1, width=width, height=_HEIGHT - 2, rx=3)
