"""The report's parts: figures as written, conditions, scales, curves, lineage, colors."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.report.conditions import Limit, parse_limit
from safecompress.report.lineage import read_nodes
from safecompress.report.plots.bars import bar
from safecompress.report.plots.front import Point, front
from safecompress.report.plots.interval import interval_bar
from safecompress.report.plots.losses import Histogram
from safecompress.report.plots.roc import Curve, floor_of, roc_panel
from safecompress.report.plots.rounds import rounds_tree
from safecompress.report.safe import number, text
from safecompress.report.svg import Scale, decades, path, round_ticks, tag
from safecompress.report.view_comparison import measure_label
from safecompress.report.view_leak import exposures, leak
from safecompress.report.view_verdict import check_groups
from safecompress.report.wording import (
    MISSING,
    Span,
    beside,
    figure,
    seconds,
    style_of,
    with_interval,
)
from tests.report_fixture import history
from tests.report_page import Page, colors, contrast

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "style", "signed", "written"),
    [
        (0.5, "auc", False, ".500"), (1.0, "auc", False, "1.000"), (0.0, "auc", False, ".000"),
        (-0.0124, "auc", True, "−.012"), (0.0124, "auc", True, "+.012"),
        (-0.0001, "auc", True, ".000"), (0.7119, "percent", False, "71.2%"),
        (0.9997, "percent", False, "99.97%"), (1.0, "percent", False, "100.0%"),
        (0.00042, "percent", False, "0.042%"), (0.0, "percent", False, "0.0%"),
        (0.01, "percent", True, "+1.0 points"), (1234567.0, "plain", False, "1,234,567"),
        (0.012345, "plain", False, "0.0123"), (None, "auc", False, "–"),
    ],
)  # fmt: skip
def test_figures(value: float | None, style: Any, signed: bool, written: str) -> None:
    assert figure(value, style, signed=signed) == written


@given(finite, st.sampled_from(["auc", "percent", "plain"]), st.booleans())
def test_any_figure_is_short(value: float, style: Any, signed: bool) -> None:
    assert len(figure(value, style, signed=signed)) < 40


@given(st.floats(0, 1), st.floats(-1e-3, 1e-3), st.sampled_from(["auc", "percent", "plain"]))
def test_a_figure_that_misses_its_bound_does_not_read_like_it(
    bound: float, gap: float, style: Any
) -> None:
    value = bound + gap
    if abs(gap) > 1e-9:
        assert beside(value, bound, style) != figure(bound, style)


def test_an_exact_figure_has_no_interval() -> None:
    assert with_interval(Span(0.1, 0.1, 0.1), "percent") == "10.0%"
    assert with_interval(Span(0.1, 0.05, 0.2), "percent") == "10.0% [5.0%, 20.0%]"
    assert with_interval(Span(0.1, None, 0.2), "percent") == "10.0%"


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("loss.auc", "auc"), ("accuracy ≥ dense", "percent"), ("m.tpr@0.01", "percent"),
        ("m.class-balanced-accuracy", "percent"), ("control: blind baseline", "auc"),
        ("latency", "plain"),
    ],
)  # fmt: skip
def test_style_of(name: str, style: str) -> None:
    assert style_of(name) == style


@pytest.mark.parametrize("given_", [None, -1, "1", float("nan"), True])
def test_no_duration(given_: object) -> None:
    assert seconds(given_) == "–"


@pytest.mark.parametrize(
    ("condition", "limit"),
    [
        ("≤ 0.55", Limit(0.55, True)), ("≥ 1e-3", Limit(0.001, False)), ("<= .5", Limit(0.5, True)),
        ("at most 5%", Limit(0.05, True)), ({"at_least": 0.7}, Limit(0.7, False)),
        ("≤ dense", Limit(0.0, True, relative=True)),
        ("≥ dense − 0.02", Limit(-0.02, False, relative=True)),
        ("≤ dense + 0.02", Limit(0.02, True, relative=True)),
        ({"at_most_dense": 0.02}, Limit(0.02, True, relative=True)),
        ("at chance (p ≥ 0.001)", None), ("caught (AUC ≥ 0.95)", None), ("", None), ("≤", None),
        (None, None), ("≤ 1e999", None), ("between 0.4 and 0.6", None), ("≤ 0.5 or ≥ 0.7", None),
    ],
)  # fmt: skip
def test_conditions(condition: object, limit: Limit | None) -> None:
    found = parse_limit(condition)
    if limit is None or found is None:
        assert found is limit
        return
    assert (found.at_most, found.relative) == (limit.at_most, limit.relative)
    assert found.bound == pytest.approx(limit.bound)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("loss.auc", "loss · AUC"), ("my.pkg:attack.auc", "my.pkg:attack · AUC"),
        ("m.class-balanced-accuracy", "m · per-class balanced accuracy"),
        ("m.tpr@0.001", "m · TPR at FPR 0.1%"), ("m.tpr@x", "m · TPR at FPR x"),
        ("accuracy", "accuracy"), ("m.tpr@nan", "m · TPR at FPR –"),
    ],
)  # fmt: skip
def test_measure_labels(name: str, label: str) -> None:
    assert measure_label(name) == label


@settings(max_examples=40)
@given(st.text() | st.integers() | st.floats() | st.lists(st.text(max_size=8), max_size=3))
def test_text_is_printable_and_short(value: object) -> None:
    found = text(value, longest=20)
    assert len(found) <= 20
    found.encode()
    assert not any(ord(c) < 32 and c not in "\t\n\r" for c in found)


@pytest.mark.parametrize("odd", [True, None, "1", float("nan"), float("inf"), 10**400, []])
def test_only_finite_numbers_are_numbers(odd: object) -> None:
    assert number(odd) is None


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
    (group,) = check_groups({"checks": [given_]})
    assert (group.rows[0].figure.shown, group.rows[0].condition) == ("5.0%", "≤ 5.0%")
    (group,) = check_groups({"checks": [given_ | {"status": "FAIL"}]})
    assert group.rows[0].figure.shown != "5.0%"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0, 1))
def test_the_table_behind_a_roc_curve_reads_what_was_recorded(
    rates: list[float], place: float
) -> None:
    curve = Curve(sorted(rates), sorted(rates), None)
    allowed = [tpr for fpr, tpr in zip(curve.fpr, curve.tpr, strict=True) if fpr <= place]
    assert curve.found_at(place) == (allowed[-1] if allowed else 0.0)


def test_parents_are_resolved_by_place_in_the_population() -> None:
    def line(r: int, parent: str, name: str, rank: int | None, selected: bool) -> dict[str, Any]:
        return {"round": r, "candidate": name, "parent": parent, "rank": rank,
                "selected": selected, "status": "ok" if rank else "discarded"}  # fmt: skip

    nodes = read_nodes(
        [
            line(1, "r1p1", "r1p1c1", 2, True),
            line(1, "r1p1", "r1p1c2", 1, True),
            line(2, "r2p1", "r2p1c1", None, False),
            line(2, "r2p2", "r2p2c1", None, False),
            line(3, "r3p1", "r3p1c1", 1, True),
            line(3, "r3p2", "r3p2c1", 2, False),
        ]
    )
    # Round 2 lost every candidate, so round 3 starts from those of round 1, best first.
    assert [n.parent for n in nodes] == [None, None, 1, 0, 1, 0]
    assert [n.index for n in nodes if n.on_path] == [1, 4]


def test_parents_may_be_named_outright_and_never_loop() -> None:
    lines = [
        {"round": 2, "candidate": "a", "parent": "a", "selected": True},
        {"round": 1, "candidate": "b", "parent": "a", "selected": True},
        {"round": 3, "candidate": "c", "parent": "b", "selected": True},
    ]
    nodes = read_nodes(lines)
    assert [n.parent for n in nodes] == [None, None, 1]
    assert [n.name for n in nodes if n.on_path] == ["b", "c"]


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


def test_newly_exposed_members_are_shown_few_and_hostile_ones_harmless():
    entry = {"attack": "loss", "dense_attack": "loss", "false_positive_rate": 0.01}
    whole = entry | {"rate": 0.3, "dense_only_rate": 0.1, "rows": list(range(1998, 2248))}
    odd = {"attack": ["<b>"], "rate": "many", "rows": ["<script>", None, 7]}
    one, other = exposures({"newly_exposed": [whole, odd, "not an entry"]}).new
    assert one.rows.startswith("1998, 1999, 2000, ")
    assert one.rows.endswith(" and 150 more")
    assert (one.rate.shown, one.allowed) == ("30.0%", "1.0%")
    assert "script" not in other.rows
    assert other.rate.shown == other.dense_only_rate.shown == MISSING
    assert exposures({}).new == ()


def test_the_leak_by_class_survives_whatever_stands_in_the_file() -> None:
    whole = {
        "attack": "neural",
        "accusations": [{"prior": 0.01, "precision": 0.25, "fpr": 0.01, "tpr": 0.4}],
        "classes": [
            {"name": "<b>", "auc": 0.7, "low": 0.6, "high": 0.8, "members": 20, "nonmembers": 30},
            {"auc": "NaN", "low": None},
            "not an entry",
        ],
        "classes_measured": 2,
        "classes_without_rows": 1,
    }
    found = leak({"leak": whole})
    assert found.accusations[0].precision == "25.0%"
    assert [row.name for row in found.classes] == ["<b>", "–"]
    assert found.classes[0].interval == ".600 to .800"
    assert leak({}).classes == leak({"leak": None}).accusations == ()


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
