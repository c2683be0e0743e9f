"""The judged models: their order, and a mark each that does not rest on color alone."""

from __future__ import annotations

from collections.abc import Iterable

ORDER = ("dense", "magnitude", "compressed")


def ordered(names: Iterable[str]) -> list[str]:
    """Return names with the dense model first and the compressed one last.

    >>> ordered(["compressed", "other", "dense"])
    ['dense', 'other', 'compressed']
    """
    place = {"dense": 0, "magnitude": 1, "compressed": 3}
    return sorted(names, key=lambda name: place.get(name, 2))


def css_class(name: str) -> str:
    """Return the class that colors a model's marks.

    >>> css_class("dense"), css_class("<script>")
    ('s-dense', 's-other')
    """
    return f"s-{name}" if name in ORDER else "s-other"
