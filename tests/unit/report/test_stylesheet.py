"""The colors of the report: their contrast in the light and in the dark scheme."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from tests.report_page import colors, contrast

CSS = (files("safecompress.report") / "templates" / "report.css").read_text("utf-8")
TEXT = [
    ("ink", "card"), ("ink", "page"), ("ink", "raised"), ("muted", "card"), ("muted", "page"),
    ("muted", "raised"), ("link", "card"), ("link", "page"), ("ink", "open-soft"),
    ("muted", "open-soft"), ("compressed", "card"), ("compressed", "raised"),
    *((tone, soft) for t in ("pass", "fail", "open", "error", "idle")
      for tone, soft in [(t, f"{t}-soft"), ("on-solid", t)]),
]  # fmt: skip
MARKS = [(name, "card") for name in ("dense", "magnitude", "compressed", "other", "member", "edge")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back"), TEXT)
def test_text_contrast_is_aa(scheme: str, front: str, back: str) -> None:
    palette = colors(CSS)[scheme]
    assert contrast(palette[front], palette[back]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back"), MARKS)
def test_marks_stand_out(scheme: str, front: str, back: str) -> None:
    palette = colors(CSS)[scheme]
    assert contrast(palette[front], palette[back]) >= 3.0


def test_every_color_of_the_stylesheet_is_known_in_both_schemes() -> None:
    # What the palette does not hold is black or white on paper.
    outside = re.sub(r"light-dark\(.*?\)|@media print.*", "", CSS, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-f]{3,8}\b", outside) == []
    used = set(re.findall(r"var\(--([a-z-]+)\)", CSS))
    assert used <= set(re.findall(r"--([a-z-]+):", CSS))
