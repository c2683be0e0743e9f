"""Every page that is written, in a real browser: first screen, length, colors, paper, axe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safecompress.report import (
    read_evidence,
    render_report,
    render_summary,
    table_html,
    write_report,
)
from tests.report_browser import CUT_OFF, Browser, Opened, chromium, sheets
from tests.report_fixture import check, figures, history, span, verdict, write_run
from tests.report_pages import AUDIT, COHORTS, EXPORT, JOINT, LONG, RUNS

DEMO = Path(__file__).parents[1] / "data" / "demo"
SCREENS = {"desktop": (1280, 800), "phone": (390, 844)}
LONGEST = {"desktop": 5000, "phone": 8000}
"""Pixels that the report of `safecompress demo` may be high."""
DOCUMENTS: Mapping[str, dict[str, Any]] = {
    "pass": verdict("PASS"), "fail": verdict(), "inconclusive": verdict("INCONCLUSIVE"),
    "error": verdict("ERROR"), "audit": AUDIT, "joint": JOINT, "long": LONG,
}  # fmt: skip
"""Verdicts of every kind and every end; of one of them every text is long."""
PAGES = ("report", "audit", "joint", "report summary", "export", "runs", "cohorts")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from the name of a page, or of a document, to its file."""
    folder = tmp_path_factory.mktemp("pages")
    drawn = figures(("compressed",))
    write_run(folder / "report", history_lines=history(2, 2), figures_json=drawn)
    for name, document in DOCUMENTS.items():
        write_run(folder / name, verdict_json=document, history_lines=[], figures_json={})
    for name in ("report", *DOCUMENTS):
        write_report(folder / name)
    exported = folder / "m.onnx.json"
    exported.write_text(json.dumps(EXPORT))
    pages = {
        "demo": render_report(DEMO),
        "export": render_summary(read_evidence(exported)),
        "runs": table_html(RUNS, name="runs"),
        "cohorts": table_html(COHORTS, name="cohorts"),
    }
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page)

    def find(name: str) -> Path:
        if name in pages:
            return folder / f"{name}.html"
        run, _, kind = name.partition(" ")
        return folder / run / f"{kind or 'report'}.html"

    return find


@pytest.fixture(scope="module")
def browser(made: Callable[[str], Path]) -> Iterator[Browser]:
    with chromium(made("report")) as found:
        yield found


def bottom(opened: Opened, selector: str) -> float:
    """Return where the lowest of some elements ends, in pixels from the top of the page."""
    ends = opened.page.evaluate(
        "s => [...document.querySelectorAll(s)].map((e) => e.getBoundingClientRect().bottom)",
        selector,
    )
    return float(max(ends))


def test_the_first_screen_answers_what_a_newcomer_asks(
    browser: Browser, made: Callable[[str], Path]
) -> None:
    for name in ("demo", *DOCUMENTS):
        with browser.open(made(name)) as opened:
            asked = opened.texts(".answers dt")
            assert asked == ["Does it leak?", "Where?", "What to do next", "What was judged",
                             "What was not judged"], name  # fmt: skip
            assert all(opened.texts(".answers b"))
            for width, height in SCREENS.values():
                opened.page.set_viewport_size({"width": width, "height": height})
                end = bottom(opened, ".hero .badge, .sentence, .answers div")
                assert end <= height, (name, width)


@pytest.mark.parametrize("screen", SCREENS)
def test_the_report_of_the_demo_is_short(
    browser: Browser, made: Callable[[str], Path], screen: str
) -> None:
    width, height = SCREENS[screen]
    with browser.open(made("demo"), width=width, height=height) as opened:
        length = opened.page.evaluate("document.documentElement.scrollHeight")
    assert height < length <= LONGEST[screen]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_silent_and_switches_its_colors(
    browser: Browser, made: Callable[[str], Path], name: str
) -> None:
    with browser.open(made(name), color_scheme="light") as opened:
        color = "getComputedStyle(document.body).backgroundColor"
        before = opened.page.evaluate(color)
        switch = opened.page.get_by_role("button", name="Dark colors")
        switch.press("Enter")
        assert switch.get_attribute("aria-pressed") == "true"
        dark = opened.page.evaluate(color)
        assert dark != before
        opened.page.reload()
        assert opened.page.evaluate(color) == dark
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate(color) == "rgb(255, 255, 255)"
        assert not switch.is_visible()
        assert opened.console == []
        assert opened.violations == []
        assert {r for r in opened.requests if not r.startswith("data:")} == {opened.page.url}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_without_javascript(
    browser: Browser, made: Callable[[str], Path], name: str
) -> None:
    with browser.open(made(name), width=390, java_script_enabled=False) as opened:
        assert opened.page.locator("button").count() == 0
        assert all(s.is_visible() for s in opened.page.locator("main > section").all())
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
        assert opened.page.evaluate(CUT_OFF, True) == []
        assert opened.console == []


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(
    browser: Browser, made: Callable[[str], Path], name: str
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python", reason="needs axe-core: install the dev extra"
    )
    script = (files(axe) / "axe.min.js").read_text("utf-8")
    with browser.open(made(name)) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        opened.page.evaluate(script)
        # Contrast is tested for every text and both schemes by itself, in less time.
        found = opened.page.evaluate(
            "axe.run({ resultTypes: ['violations'], rules: { 'color-contrast': { enabled: false }},"
            " selectors: false })"
        )
        assert len(found["passes"]) > 15
        grave = [v for v in found["violations"] if v["impact"] in {"serious", "critical"}]
        assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in grave] == []
        opened.page.evaluate("document.querySelector('h1').innerHTML = '<img src=\"data:,\">'")
        spoiled = opened.page.evaluate("axe.run({ runOnly: ['image-alt'] })")
        assert [v["id"] for v in spoiled["violations"]] == ["image-alt"]


@pytest.mark.parametrize("name", ["runs", "cohorts"])
def test_a_comparison_sorts_by_every_column(
    browser: Browser, made: Callable[[str], Path], name: str
) -> None:
    with browser.open(made(name)) as opened:
        table = opened.page.locator("table.methods").first
        heads = table.locator("thead th")
        assert heads.count() > 5
        for column in range(heads.count()):
            button, head = heads.nth(column).get_by_role("button"), heads.nth(column)
            orders = []
            for key in ("Enter", "Space") if column % 2 else ("click", "click"):
                button.click() if key == "click" else button.press(key)
                orders.append(
                    table.evaluate(
                        "(table, i) => [...table.tBodies[0].rows].map((row) =>"
                        " row.cells[i].dataset.key ?? row.cells[i].textContent.trim())",
                        column,
                    )
                )
            assert head.get_attribute("aria-sort") == "descending"
            assert table.locator("[aria-sort]").count() == 1
            known = [[value for value in order if value] for order in orders]
            rank = float if column > 1 else str
            assert known[0] == sorted(known[0], key=rank)
            assert known[1] == sorted(known[1], key=rank, reverse=True)
            assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_a_summary_prints_on_one_sheet(
    browser: Browser, made: Callable[[str], Path], paper: str
) -> None:
    for name in ("report summary", "joint summary", "long summary", "export"):
        with browser.open(made(name)) as opened:
            found = sheets(opened.page.pdf(format=paper, prefer_css_page_size=True))
        assert len(found) == 1, name
        assert found[0][0] < found[0][1]


def test_a_box_that_hides_something_shows_a_shadow_at_that_edge(
    browser: Browser, made: Callable[[str], Path]
) -> None:
    def edges(opened: Opened) -> tuple[int, int]:
        """Return how much darker than its middle the left and the right edge of the box are."""
        shot = Image.open(io.BytesIO(opened.page.locator("#comparison .scroll").screenshot()))
        gray, middle = shot.convert("L"), shot.height // 2
        row = [int(gray.getpixel((x, middle))) for x in (1, shot.width // 2, shot.width - 2)]
        return row[1] - row[0], row[1] - row[2]

    with browser.open(made("report"), width=390, color_scheme="light") as opened:
        # The table itself is hidden, so that only the edges of its box are seen.
        box = opened.page.locator("#comparison .scroll")
        box.evaluate("(box) => { box.firstElementChild.style.visibility = 'hidden'; }")
        left, right = edges(opened)
        assert left <= 2
        assert right > 20
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        left, right = edges(opened)
        assert left > 20
        assert right <= 2


def test_what_a_page_leaves_out_is_counted(tmp_path: Path) -> None:
    long = {"leak": {"classes": [{"name": str(i), "auc": 0.6} for i in range(150)]}}
    many = [check(f"loss.auc ≤ 0.{i:03}", "PASS", span(0.5, 0.01)) for i in range(350)]
    given = verdict() | long | {"checks": many, "limits": ["x"] * 45}
    page = render_report(
        write_run(
            tmp_path / "run",
            verdict_json=given | {"by_class": [{"name": str(i)} for i in range(130)]},
            figures_json=figures(("dense",)) | {"layers": [{"name": "a"}] * 410},
        )
    )
    for words in ("50 more, in verdict.json", "5 more, in verdict.json", "30 more, in verdict.json",
                  "10 more, in figures.json"):  # fmt: skip
        assert f'<p class="more">{words}.</p>' in page
