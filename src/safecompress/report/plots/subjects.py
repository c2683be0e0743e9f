"""`ordered` and `css_class`: the order of models in plots, and the CSS class of their marks."""

from __future__ import annotations

from collections.abc import Iterable

from safecompress.verdict_names import COMPRESSED, DENSE, MAGNITUDE

ORDER = (DENSE, MAGNITUDE, COMPRESSED)


def ordered(names: Iterable[str]) -> list[str]:
    """Return names with the dense model first and the compressed one last.

    Args:
        names: names of models.

    >>> ordered(["compressed", "other", "dense"])
    ['dense', 'other', 'compressed']
    """
    place = {DENSE: 0, MAGNITUDE: 1, COMPRESSED: 3}
    return sorted(names, key=lambda name: place.get(name, 2))


def css_class(name: str) -> str:
    """Return the CSS class that colors a model's marks.

    Args:
        name: name of the model; names not in `ORDER` share one class.

    >>> css_class("dense"), css_class("<script>")
    ('s-dense', 's-other')
    """
    return f"s-{name}" if name in ORDER else "s-other"
