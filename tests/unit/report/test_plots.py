"""The plots of the report: scales, ticks, curves, bars, the tree of rounds, names in a plane."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.report.conditions import Limit
from safecompress.report.lineage import read_nodes
from safecompress.report.plots.bars import bar
from safecompress.report.plots.front import Point, front
from safecompress.report.plots.interval import interval_bar
from safecompress.report.plots.losses import Histogram
from safecompress.report.plots.roc import Curve, floor_of, roc_panel
from safecompress.report.plots.rounds import rounds_tree
from safecompress.report.svg import Scale, decades, path, round_ticks, tag
from safecompress.report.view_checks import checks_view
from safecompress.report.wording import (
    Span,
)
from tests.report_fixture import history
from tests.report_page import Page


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_scales_keep_order_and_stay_inside(a: float, b: float, logarithmic: bool) -> None:
    scale = Scale(1e-3, 1e3, 10.0, 110.0, logarithmic)
    assert 10.0 - 1e-9 <= scale(a) <= 110.0 + 1e-9
    if a <= b:
        assert scale(a) <= scale(b) + 1e-9


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_inside(low: float, width: float) -> None:
    ticks = round_ticks(low, low + width)
    assert ticks == sorted(ticks)
    slack = width * 1e-3 + abs(low) * 1e-9
    assert all(low - slack <= t <= low + width + slack for t in ticks)
    assert len(ticks) <= 7


@given(st.floats(1e-9, 0.5))
def test_decades_lie_inside(low: float) -> None:
    assert all(low * 0.999 <= t <= 1.0 for t in decades(low, 1.0))


def test_tags_escape() -> None:
    made = tag("text", "a<b>&", tag("b", '"'), aria_label='x"><script>')
    assert made == (
        '<text aria-label="x&#34;&gt;&lt;script&gt;">a&lt;b&gt;&amp;<b>&#34;</b></text>'
    )


def test_long_lines_are_thinned_but_keep_their_ends() -> None:
    drawn = str(path([(i / 1000, 0.0) for i in range(100_001)]))
    points = re.findall(r"([\d.]+) 0", drawn)
    assert len(points) <= 202
    assert (points[0], points[-1]) == ("0", "100")


@pytest.mark.parametrize(
    ("n", "floor"), [(None, 1e-3), (0, 1e-3), (100, 0.01), (10**6, 1e-3), (2, 0.1)]
)
def test_the_lowest_rate_drawn(n: float | None, floor: float) -> None:
    assert floor_of(n) == pytest.approx(floor)


def test_a_roc_curve_enters_at_the_height_it_has_at_the_floor() -> None:
    # At FPR 0.001 and below the attack already finds 10 %: the curve starts one decade down.
    curve = Curve((0.0, 0.0005, 0.1, 1.0), (0.0, 0.1, 0.5, 1.0), 0.8)
    found = Page.of(str(roc_panel({"dense": curve}, attack="a", floor=1e-3, identity="r")))
    drawn = next(e.attributes["d"] for e in found.all("path") if "curve" in e.attributes["class"])
    first_x, first_y = map(float, re.match(r"M([\d.]+) ([\d.]+)", drawn).groups())  # type: ignore[union-attr]
    grid = [
        float(e.attributes["y1"])
        for e in found.all("line")
        if e.attributes["y1"] == e.attributes["y2"]
    ]
    verticals = [
        float(e.attributes["x1"])
        for e in found.all("line")
        if e.attributes["x1"] == e.attributes["x2"]
    ]
    assert first_x == pytest.approx(min(verticals), abs=0.02)
    assert first_y == pytest.approx(sorted(grid)[1], abs=0.02)


def test_histograms_become_shares() -> None:
    found = Histogram.read((0.0, 1.0, 2.0), (30.0, 10.0), (2.0, 2.0))
    assert found is not None
    assert found.members == [0.75, 0.25]
    assert found.nonmembers == [0.5, 0.5]
    assert found.top == 0.75
    assert Histogram.read((0.0, 0.0), (1.0,), (1.0,)) is None
    assert Histogram.read((), (), ()) is None


def test_bars_show_bounds_and_never_leave_the_picture() -> None:
    assert interval_bar(Span(None, None, None), Limit(0.5, True), style="auc", identity="x") == ""
    drawn = Page.of(
        str(interval_bar(Span(0.7, 0.6, 0.8), Limit(0.5, True), style="auc", identity="x"))
    )
    assert "to lie at or below .500" in drawn.by_id("x-title").text
    rects = {e.attributes["class"]: e.attributes for e in drawn.all("rect")}
    allowed, span_ = rects["allowed"], rects["range"]
    assert float(allowed["x"]) + float(allowed["width"]) < float(span_["x"])
    for share in (-1.0, 0.0, 0.5, 7.0):
        widths = [float(e.attributes["width"]) for e in Page.of(str(bar(share))).all("rect")]
        assert all(0 <= w <= 160 for w in widths)


@pytest.mark.parametrize(("value", "bound"), [(0.05000774, 0.0500077), (0.6, 0.6), (0.0, 0.0)])
def test_a_figure_at_its_bound_is_drawn_at_its_bound(value: float, bound: float) -> None:
    drawn = Page.of(
        str(
            interval_bar(
                Span(value, value, value), Limit(bound, True), style="percent", identity="x"
            )
        )
    )
    dot, tick = drawn.all("circle")[0].attributes, drawn.all("line")[1].attributes
    assert float(dot["cx"]) == pytest.approx(float(tick["x1"]), abs=0.1)


def test_a_passed_check_does_not_look_missed_because_its_condition_is_rounded() -> None:
    given_ = {"name": "density", "status": "PASS", "condition": "≤ 0.0500077",
              "value": 0.050007735, "low": 0.050007735, "high": 0.050007735}  # fmt: skip
    (group,) = checks_view({"checks": [given_]}).groups
    assert (group.rows[0].figure.shown, group.rows[0].condition) == ("5.0%", "≤ 5.0%")
    (group,) = checks_view({"checks": [given_ | {"status": "FAIL"}]}).groups
    assert group.rows[0].figure.shown != "5.0%"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0, 1))
def test_the_table_behind_a_roc_curve_reads_what_was_recorded(
    rates: list[float], place: float
) -> None:
    curve = Curve(sorted(rates), sorted(rates), None)
    allowed = [tpr for fpr, tpr in zip(curve.fpr, curve.tpr, strict=True) if fpr <= place]
    assert curve.found_at(place) == (allowed[-1] if allowed else 0.0)


@pytest.mark.parametrize(("rounds", "width"), [(1, 1), (6, 4), (3, 16), (5, 40), (1, 200)])
def test_nodes_of_the_tree_do_not_overlap(rounds: int, width: int) -> None:
    nodes = read_nodes(history(rounds, width))
    drawn = Page.of(str(rounds_tree(nodes, identity="t")))
    frame = drawn.by_id("t").attributes
    boxes = [
        tuple(float(e.attributes[k]) for k in ("x", "y", "width", "height"))
        for e in drawn.all("rect")
        if e.attributes.get("class") == "hit"
    ]
    assert len(boxes) == len(nodes)
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= float(frame["width"])
        assert y + h <= float(frame["height"])
        for a, b, c, d in boxes[:i]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
    assert sum("on-path" in e.attributes.get("class", "") for e in drawn.all("g")) == rounds


def test_discarded_candidates_are_crossed() -> None:
    lines = history(6, 4)
    drawn = Page.of(str(rounds_tree(read_nodes(lines), identity="t")))
    crosses = [e for e in drawn.all("path") if e.attributes["class"] == "cross"]
    assert len(crosses) == sum(line["status"] == "discarded" for line in lines) > 0


def point(name: str, across: float, up: float, *, best: bool = True) -> Point:
    return Point(name, Span.read(across), Span.read(up), best=best, css="s-other")


def names_in(drawn: str) -> dict[str, tuple[float, float, float, float]]:
    """Return the box that each name of a plane takes, a letter 5 wide and 10 high."""
    found = {}
    for attributes, name in re.findall(r'<text([^>]*class="label"[^>]*)>([^<]+)</text>', drawn):
        x, y = (float(re.search(rf'\b{k}="([^"]+)"', attributes)[1]) for k in "xy")
        left = x if 'text-anchor="start"' in attributes else x - 5 * len(name)
        found[name] = (left, left + 5 * len(name), y - 10, y)
    return found


def test_names_in_a_plane_do_not_lie_on_each_other() -> None:
    crowd = [point(f"candidate {i}", 0.55 + i / 1e4, 0.6, best=i >= 8) for i in range(12)]
    drawn = str(front([*crowd, point("alone", 0.7, 0.2)], identity="plane"))
    names = names_in(drawn)
    boxes = list(names.values())
    for i, a in enumerate(boxes):
        assert a[0] >= 0
        for b in boxes[:i]:
            assert a[0] >= b[1] or b[0] >= a[1] or a[2] >= b[3] or b[2] >= a[3]
    assert "alone" in names
    # Who is on the front is named before who is not; whoever is not named says so when pointed at.
    assert "candidate 8" in names
    assert len(names) < 13
    assert all(f"candidate {i}:" in drawn for i in range(12))
