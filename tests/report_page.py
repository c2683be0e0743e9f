"""Reading a report back: a small strict reader of HTML and of the stylesheet's colors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img"}


@dataclass
class Element:
    """One element: its tag, its attributes, and which pieces of the page's text lie in it."""

    tag: str
    attributes: dict[str, str]
    pieces: list[str]
    start: int
    stop: int | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces[self.start : self.stop])


@dataclass
class Page(HTMLParser):
    """A page as a flat list of elements; `faults` lists tags that do not nest."""

    elements: list[Element] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    open_: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, html: str) -> Page:
        page = cls()
        page.feed(html)
        page.close()
        page.faults += [f"never closed: {e.tag}" for e in page.open_]
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {k: v or "" for k, v in attrs}, self.pieces, len(self.pieces))
        if len(element.attributes) != len(attrs):
            self.faults.append(f"attribute given twice: {tag}")
        self.elements.append(element)
        if tag not in VOID:
            self.open_.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open_ or self.open_[-1].tag != tag:
            self.faults.append(f"closed out of order: {tag}")
            return
        self.open_.pop().stop = len(self.pieces)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def all(self, tag: str) -> list[Element]:
        return [e for e in self.elements if e.tag == tag]

    def by_id(self, identity: str) -> Element:
        return next(e for e in self.elements if e.attributes.get("id") == identity)

    def texts(self, tag: str) -> list[str]:
        return [" ".join(e.text.split()) for e in self.all(tag)]


def colors(css: str) -> dict[str, dict[str, str]]:
    """Return the colors of both schemes by name."""
    pairs = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", css)
    return {
        "light": {name: light for name, light, _ in pairs},
        "dark": {name: dark for name, _, dark in pairs},
    }


def contrast(one: str, other: str) -> float:
    """Return WCAG 2's contrast ratio of two colors, in [1, 21]."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
