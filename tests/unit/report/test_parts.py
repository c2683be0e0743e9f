"""The report's wording: figures, conditions, labels, lineage and the leak by class."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.report.conditions import Limit, parse_limit
from safecompress.report.lineage import read_nodes
from safecompress.report.safe import number, text
from safecompress.report.view_comparison import measure_label
from safecompress.report.view_leak import exposures, leak
from safecompress.report.wording import (
    MISSING,
    Span,
    beside,
    figure,
    seconds,
    style_of,
    with_interval,
)

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
