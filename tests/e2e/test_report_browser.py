"""The report in a real browser: what a reader sees, points at, types and prints."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from safecompress.report import write_report
from safecompress.report.wording import figure
from tests.report_browser import (
    CONTRASTS,
    CUT_OFF,
    TABBABLE,
    UNFOLD,
    Browser,
    Opened,
    chromium,
    sheets,
)
from tests.report_fixture import figures, history, write_run

HEADS = "table.candidates thead th"
RANKS = "table.candidates tbody td:nth-of-type(4)"
OPEN_ALL = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(write_report(write_run(tmp_path_factory.mktemp("runs") / "demo"))) as found:
        yield found


@pytest.fixture
def report(browser: Browser) -> Iterator[Opened]:
    with browser.open() as opened:
        opened.page.evaluate(UNFOLD)
        yield opened


def test_the_page_is_silent_and_asks_for_nothing(report: Opened) -> None:
    report.page.evaluate(OPEN_ALL)
    # From the last: a summary inside another is closed before it.
    for summary in reversed(report.page.locator("summary").all()):
        summary.click()
    assert report.console == []
    assert report.violations == []
    assert [r for r in report.requests if not r.startswith("data:")] == [report.page.url]


def test_the_policy_stops_foreign_scripts_styles_and_pictures(report: Opened) -> None:
    report.page.evaluate(
        """() => {
          const script = document.createElement("script"), style = document.createElement("style");
          script.textContent = "window.foreign = true";
          style.textContent = "body { display: none }";
          const picture = document.createElement("img");
          picture.src = "https://safecompress.invalid/x.png";
          document.body.append(script, style, picture);
        }"""
    )
    report.page.wait_for_function("violations.length >= 3")
    assert sorted(report.violations) == ["img-src", "script-src-elem", "style-src-elem"]
    assert report.page.evaluate("window.foreign") is None
    assert report.page.locator("h1").is_visible()


def test_a_link_to_a_folded_section_opens_it(browser: Browser) -> None:
    with browser.open() as opened:
        links = opened.page.locator("nav a").all()
        assert len(links) > 8
        for link in links:
            # A click of the mouse waits until the page has stopped scrolling, a second each.
            link.evaluate("link => link.click()")
            name = link.get_attribute("href")
            opened.page.wait_for_function(
                "name => document.querySelector(name).closest('section')"
                ".matches(':not(.fold), :has(> details[open])')",
                arg=name,
            )


@pytest.mark.parametrize("how", ["click", "Enter", "Space"])
def test_tables_sort_both_ways(report: Opened, how: str) -> None:
    def sort(column: str) -> None:
        button = report.page.locator(HEADS).get_by_role("button", name=column, exact=True)
        button.click() if how == "click" else button.press(how)

    before = report.texts(RANKS)
    ranks = sorted(int(r) for r in before if r != "–")
    absent = ["–"] * before.count("–")
    sort("Rank")
    assert report.texts(RANKS) == [*map(str, ranks), *absent] != before
    assert report.page.locator(f'{HEADS}[aria-sort="ascending"]').all_text_contents() == ["Rank"]
    sort("Rank")
    assert report.texts(RANKS) == [*map(str, reversed(ranks)), *absent]
    assert report.page.locator(f"{HEADS}[aria-sort]").get_attribute("aria-sort") == "descending"
    sort("Candidate")
    assert report.texts("table.candidates tbody th") == [h["candidate"] for h in history(6, 4)]
    assert report.page.locator(f"{HEADS}[aria-sort]").all_text_contents() == ["Candidate"]


def test_checks_sort_by_severity_and_controls_are_folded(report: Opened) -> None:
    report.page.locator("table.checks").first.get_by_role("button", name="Status").click()
    words = report.texts("#checks > table.checks tbody:first-of-type td:first-child")
    assert words[:3] == ["fail", "inconclusive", "not run"]
    assert set(words[4:]) == {"pass"}
    held = report.page.locator("details.held")
    assert held.locator("summary").inner_text() == "2 controls of the tests held"
    assert not held.locator("li").first.is_visible()


@pytest.mark.parametrize("how", ["click", "Enter", "Space"])
def test_a_legend_entry_hides_its_series_and_shows_it_again(report: Opened, how: str) -> None:
    panel, other = (
        report.page.locator("#roc .panel").nth(0),
        report.page.locator("#roc .panel").nth(1),
    )
    button = panel.get_by_role("button", name="dense")
    for pressed in ("false", "true"):
        button.click() if how == "click" else button.press(how)
        assert button.get_attribute("aria-pressed") == pressed
        assert panel.locator("path.curve.s-dense").last.is_visible() is (pressed == "true")
        assert panel.locator("path.curve.s-compressed").last.is_visible()
        assert other.locator("path.curve.s-dense").last.is_visible()


def test_legends_of_losses_and_rounds_hide_theirs(report: Opened) -> None:
    def entry(section: str, name: str) -> None:
        report.page.locator(f"#{section} .legend").get_by_role(
            "button", name=name, exact=True
        ).click()

    entry("losses", "members")
    assert not any(p.is_visible() for p in report.page.locator("path.members").all())
    assert all(p.is_visible() for p in report.page.locator("path.nonmembers").all())
    entry("rounds-section", "not chosen")
    left = report.page.locator(".tree a:visible").count()
    assert left == sum(h["selected"] or h["status"] == "discarded" for h in history(6, 4))


def test_pointing_at_a_curve_reads_the_recorded_figures(report: Opened) -> None:
    plot, words = report.page.locator("#roc-1"), report.page.locator("#roc-1 + .readout")
    hint = words.inner_text()
    box = plot.bounding_box()
    scale = box["width"] / 300
    # Two decades of three right of the floor: a false-positive rate of 10 %.
    start, stop = (float(v) for v in plot.get_attribute("data-x").split()[2:4])
    plot.hover(position={"x": (start + (stop - start) * 2 / 3 + 0.05) * scale, "y": 90 * scale})
    assert "10.0%" in words.inner_text()
    for subject, rocs in figures(("dense", "magnitude", "compressed"))["roc"].items():
        curve = rocs["loss"]
        found = max(t for f, t in zip(curve["fpr"], curve["tpr"], strict=True) if f <= 0.1)
        (read,) = re.findall(rf"{subject} ([\d.]+)%", words.inner_text())
        assert float(read) == pytest.approx(100 * found, rel=5e-3, abs=0.051)
    report.page.locator("#roc .panel").first.get_by_role("button", name="dense").click()
    report.page.mouse.move(2, 2)
    assert words.inner_text() == hint


def test_arrow_keys_read_every_bin(report: Opened) -> None:
    plot, words = report.page.locator("#loss-1"), report.page.locator("#loss-1 + .readout")
    histogram = figures(("dense",))["loss"]["dense"]
    plot.focus()
    assert plot.get_attribute("role") == "slider"
    plot.press("Home")
    for index in range(len(histogram["members"])):
        for group in ("members", "nonmembers"):
            share = histogram[group][index] / sum(histogram[group])
            name = group.replace("nonmembers", "non-members")
            (read,) = re.findall(rf"[:,] {name} ([\d.]+%)", words.inner_text())
            assert float(read[:-1]) == pytest.approx(100 * share, abs=0.06), figure(
                share, "percent"
            )
        low = words.inner_text().replace("−", "-").split("nats, ")[1].split(" to ")[0]
        assert float(low) == pytest.approx(histogram["edges"][index], abs=0.0051)
        assert plot.get_attribute("aria-valuetext") == words.text_content()
        plot.press("ArrowRight")


def test_a_node_of_the_tree_tells_its_figures(report: Opened) -> None:
    node = report.page.locator(".tree a").nth(5)
    assert not node.locator(".tip").is_visible()
    node.locator(".hit").hover()
    assert node.locator(".tip").is_visible()
    report.page.mouse.move(2, 2)
    node.focus()
    report.page.keyboard.press("Shift+Tab")
    report.page.keyboard.press("Tab")
    assert node.locator(".tip").is_visible()
    report.page.keyboard.press("Enter")
    assert report.page.url.endswith(node.get_attribute("href"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("switched", [False, True])
def test_all_text_stands_out(browser: Browser, scheme: str, switched: bool) -> None:
    with browser.open(color_scheme=scheme) as opened:
        if switched:
            opened.page.get_by_role("button", name="Dark colors").click()
        opened.page.evaluate(OPEN_ALL)
        opened.page.locator(".tree .hit").first.hover()
        found = opened.page.evaluate(CONTRASTS)
        page = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert len(found) > 500
    assert [f for f in found if f[0] < 4.5] == []
    dark = (scheme == "dark") is not switched
    assert (int(re.findall(r"\d+", page)[0]) < 100) is dark


def test_chosen_colors_are_remembered_until_they_are_the_systems(browser: Browser) -> None:
    with browser.open(color_scheme="light") as opened:
        switch = opened.page.get_by_role("button", name="Dark colors")
        assert switch.get_attribute("aria-pressed") == "false"
        switch.press("Space")
        opened.page.reload()
        assert switch.get_attribute("aria-pressed") == "true"
        opened.page.emulate_media(color_scheme="dark")
        switch.click()
        switch.click()
        opened.page.emulate_media(color_scheme="light")
        opened.page.reload()
        assert switch.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [320, 360, 800])
@pytest.mark.parametrize("javascript", [True, False])
def test_nothing_scrolls_sideways(browser: Browser, width: int, javascript: bool) -> None:
    with browser.open(width=width, java_script_enabled=javascript) as opened:
        opened.page.evaluate(OPEN_ALL)
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width
        assert opened.page.evaluate(CUT_OFF, True) == []


# The room inside the margins, in CSS pixels: A4 upright, and on its side for the table of rounds.
@pytest.mark.parametrize(
    ("part", "width"), [("main > :not(#rounds-section)", 703), ("#rounds-section", 1031)]
)
@pytest.mark.parametrize("javascript", [True, False])
def test_paper_shows_everything(browser: Browser, part: str, width: int, javascript: bool) -> None:
    with browser.open(width=width, java_script_enabled=javascript, color_scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        if javascript:
            opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        others = f"main > :not(:is({part}))"
        opened.page.evaluate("s => document.querySelectorAll(s).forEach(e => e.remove())", others)
        assert opened.page.evaluate(CUT_OFF, False) == []
        shown = opened.page.evaluate(
            "s => [...document.querySelectorAll(s)].map((e) => e.checkVisibility())",
            f":is({part}) :is(pre, td)",
        )
        assert len(shown) > 50
        assert all(shown)
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )


def test_the_report_prints_and_closes_again_what_was_closed(report: Opened) -> None:
    closed = report.page.locator("details:not([open])").count()
    document = report.page.pdf(prefer_css_page_size=True)
    found = sheets(document)
    assert len(found) >= 5
    assert any(wide > high for wide, high in found), "the rounds lie on their side"
    assert report.page.locator("details:not([open])").count() == closed > 0


def test_tab_reaches_every_control_in_order_and_shows_where_it_is(report: Opened) -> None:
    controls = report.page.evaluate_handle(TABBABLE)
    count = report.page.evaluate("list => list.length", controls)
    assert count > 60
    for index in range(count):
        report.page.keyboard.press("Tab")
        here = report.page.evaluate(
            "([list, i]) => document.activeElement === list[i] || list[i].outerHTML.slice(0, 200)",
            [controls, index],
        )
        assert here is True, f"control {index} was passed over: {here}"
        ring = report.page.evaluate(
            """() => { const e = document.activeElement, hit = e.querySelector(".hit");
              return getComputedStyle(e).outlineStyle !== "none"
                || (hit && getComputedStyle(hit).strokeWidth === "3px"); }"""
        )
        assert ring, f"control {index} has no focus ring"
    report.page.reload()
    report.page.keyboard.press("Tab")
    assert report.page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    report.page.keyboard.press("Enter")
    # The key returns before the browser has followed the link.
    report.page.wait_for_url("**#verdict")
    assert report.page.url.endswith("#verdict")


def test_without_javascript_the_page_is_whole(browser: Browser) -> None:
    with browser.open(java_script_enabled=False) as opened:
        assert opened.page.locator("button").count() == 0
        assert opened.page.locator(".readout").count() == 0
        assert all(s.is_visible() for s in opened.page.locator("section").all())
        folded = opened.page.locator("section.fold")
        assert folded.count() >= 5
        for section in folded.all():
            section.locator("summary").first.click()
            assert section.locator("details > :not(summary)").first.is_visible()
        first = opened.page.locator("#roc .readings").first
        assert not first.locator("table").is_visible()
        first.locator("summary").click()
        assert first.locator("table").is_visible()
        node = opened.page.locator(".tree a").first
        node.locator(".hit").hover()
        assert node.locator(".tip").is_visible()
        assert opened.console == []
