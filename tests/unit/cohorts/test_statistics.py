"""What a comparison adds up to, by hand."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from safecompress.cohorts import statistics
from safecompress.cohorts.statistics import runs_side_by_side
from safecompress.report import table_csv, table_html, table_markdown
from safecompress.verdicts.document import CompressVerdict
from tests.report_fixture import verdict as synthetic


def cell(method: str, targets: list[tuple[float, float, float]], **changes: Any) -> dict[str, Any]:
    """Return a cell from (accuracy, loss AUC, rmia AUC) of each target."""
    return {
        "data": "toy",
        "density": 0.05,
        "method": method,
        "says": f"what {method} is",
        "models": len(targets),
        "seconds": {"train": 10.0 * len(targets), "attack": 1.0},
        "targets": [
            {
                "target": number,
                "accuracy": accuracy,
                "attacks": {
                    "loss": {"auc": loss, "tpr@0.01": None, "tpr@0.001": None},
                    "rmia": {"auc": rmia, "tpr@0.01": 0.1 * number, "tpr@0.001": None},
                },
            }
            for number, (accuracy, loss, rmia) in enumerate(targets)
        ],
    } | changes


OURS = cell("ours", [(0.70, 0.55, 0.61), (0.72, 0.56, 0.60), (0.71, 0.57, 0.62), (0.73, 0.50, 0.6)])
OTHER = cell(
    "other", [(0.70, 0.65, 0.60), (0.70, 0.66, 0.60), (0.69, 0.67, 0.6), (0.70, 0.60, 0.6)]
)
THIRD = cell("third", [(0.5, 0.52, 0.5), (0.5, 0.53, 0.5), (0.5, 0.5, 0.51), (0.5, 0.51, 0.5)])


def contest(cells: list[dict[str, Any]], *, reference: str | None) -> dict[str, Any]:
    return statistics.contest(cells, reference=reference).to_json()


def rows_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in document["rows"]}


def test_the_strongest_attack_is_that_of_the_cohort_not_of_each_target() -> None:
    rows = rows_of(contest([OURS, OTHER], reference=None))
    assert rows["ours"]["strongest"]["attack"] == "rmia"
    assert rows["ours"]["strongest"]["mean"] == pytest.approx((0.61 + 0.60 + 0.62 + 0.6) / 4)
    # On the fourth target the loss attack is as strong as RMIA; on average it is the stronger.
    assert rows["other"]["strongest"]["attack"] == "loss"


@given(tie=st.booleans(), order=st.permutations(["loss", "lira-online", "rmia"]))
def test_the_table_names_attacks_in_the_order_asked_for(tie: bool, order: list[str]) -> None:
    document = cell("a", [(0.7, 0.6, 0.6 if tie else 0.7)])
    figures = document["targets"][0]["attacks"]
    figures["lira-online"] = figures["rmia"]
    document["attacks"] = [{"lira-online": {}} if name == "lira-online" else name for name in order]
    tables = []
    for names in (sorted(figures), sorted(figures, reverse=True)):
        document["targets"][0]["attacks"] = {name: figures[name] for name in names}
        tables.append(contest([document], reference=None))
    assert [list(t["rows"][0]["attacks"]) for t in tables] == [order, order]
    assert json.dumps(tables[0]) == json.dumps(tables[1])
    first = next(name for name in order if tie or name != "loss")
    assert tables[0]["rows"][0]["strongest"]["attack"] == first


def test_mean_deviation_and_interval_are_scipys() -> None:
    found = rows_of(contest([OURS], reference=None))["ours"]["accuracy"]
    values = np.array([0.70, 0.72, 0.71, 0.73])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert found["mean"] == pytest.approx(values.mean())
    assert found["deviation"] == pytest.approx(values.std(ddof=1))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_the_paired_test_is_scipys_and_holm_corrected() -> None:
    rows = rows_of(contest([OURS, OTHER, THIRD], reference="ours"))

    def value(document: dict[str, Any], attack: str) -> list[float]:
        return [t["accuracy"] * (1 - t["attacks"][attack]["auc"]) for t in document["targets"]]

    p = {
        "other": stats.ttest_rel(value(OURS, "rmia"), value(OTHER, "loss")).pvalue,
        "third": stats.ttest_rel(value(OURS, "rmia"), value(THIRD, "loss")).pvalue,
    }
    for name, expected in p.items():
        assert rows[name]["against"]["p"] == pytest.approx(expected)
    smaller, larger = sorted(p, key=lambda name: p[name])
    assert rows[smaller]["against"]["p_corrected"] == pytest.approx(min(1, 2 * p[smaller]))
    assert rows[larger]["against"]["p_corrected"] == pytest.approx(
        max(min(1, 2 * p[smaller]), p[larger])
    )
    assert rows["ours"]["against"] is None


def test_equal_methods_are_no_discovery() -> None:
    twin = OURS | {"method": "twin"}
    found = rows_of(contest([OURS, twin], reference="ours"))["twin"]["against"]
    assert (found["mean"], found["p"]) == (0.0, 1.0)


def test_the_front_holds_whom_nobody_beats_in_both() -> None:
    rows = rows_of(contest([OURS, OTHER, THIRD], reference=None))
    assert {name for name, row in rows.items() if row["pareto"]} == {"ours", "third"}


def test_another_density_is_another_contest() -> None:
    elsewhere = OTHER | {"density": 0.1}
    rows = rows_of(contest([OURS, elsewhere], reference="ours"))
    assert rows["other"]["pareto"]
    assert rows["other"]["against"] is None


def test_rates_that_the_rows_do_not_carry_are_not_shown() -> None:
    tpr = rows_of(contest([OURS], reference=None))["ours"]["tpr"]
    assert tpr["tpr@0.001"] is None
    assert tpr["tpr@0.01"]["attack"] == "rmia"
    assert tpr["tpr@0.01"]["mean"] == pytest.approx(0.15)


def test_the_mean_over_sets_takes_methods_that_have_all_of_them() -> None:
    second = [c | {"data": "second"} for c in (OURS, OTHER)]
    found = contest([OURS, OTHER, THIRD, *second], reference=None)["hypervolume"]
    assert [entry["method"] for entry in found] == ["ours", "other"]


def test_the_interval_of_the_mean_over_sets_is_welchs() -> None:
    second = [c | {"data": "second", "targets": c["targets"][:3]} for c in (OURS, OTHER)]
    second = [c | {"models": 3} for c in second]
    document = contest([OURS, OTHER, *second], reference=None)
    found = next(f for f in document["hypervolume"] if f["method"] == "ours")
    assert found["sets"] == 2
    a, b = (
        [t["accuracy"] * (1 - t["attacks"]["rmia"]["auc"]) for t in OURS["targets"][:n]]
        for n in (4, 3)
    )
    # The mean of two means is half the difference between one and the other's negative.
    wide = stats.ttest_ind(a, [-x for x in b], equal_var=False).confidence_interval(0.95)
    assert found["mean"] == pytest.approx((np.mean(a) + np.mean(b)) / 2)
    assert (found["low"], found["high"]) == pytest.approx((wide.low / 2, wide.high / 2))


def test_the_mean_over_sets_stands_in_the_tables_where_there_are_several() -> None:
    second = [c | {"data": "second"} for c in (OURS, OTHER)]
    alone, both = (contest(cells, reference=None) for cells in ([OURS], [OURS, OTHER, *second]))
    title = "Mean over 2 data sets, density 0.05"
    for show in (table_markdown, lambda document: table_html(document, name="two")):
        assert title in show(both)
        assert "Mean over" not in show(alone)
    lines = table_markdown(both).split(title)[1].splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| o")] == [
        "ours",
        "other",
    ]


def test_the_tables_hold_every_row_and_escape_what_they_show() -> None:
    hostile = OTHER | {"method": "a|b<script>"}
    document = contest([OURS, hostile], reference="ours")
    markdown = table_markdown(document)
    assert "a\\|b&lt;script>" in markdown
    assert "● ours" in markdown
    page = table_html(document, name="<b>")
    assert "<script>" not in page.split("</head>")[1]
    assert "<b>" not in page
    read = list(csv.DictReader(io.StringIO(table_csv(document))))
    assert [line["method"] for line in read] == [row["method"] for row in document["rows"]]
    assert float(read[0]["auc.rmia"]) == document["rows"][0]["attacks"]["rmia"]["mean"]


def test_a_cohort_of_several_paths_says_so() -> None:
    def along(*paths: str) -> dict[str, Any]:
        taken = zip(OURS["targets"], paths, strict=True)
        return OURS | {"targets": [target | {"lineage": [path] * 2} for target, path in taken]}

    one = contest([along("a", "a", "a", "a"), OTHER], reference=None)
    two = contest([along("a", "b", "a", "b"), OTHER], reference=None)
    assert rows_of(two)["ours"]["paths"] == 2
    for show in (table_markdown, lambda document: table_html(document, name="paths")):
        assert "ours (2 paths)" in show(two)
        assert "understated" in show(two)
        assert "paths" not in show(one).replace("<title>paths", "").replace("<h1>paths", "")


def test_runs_stand_with_those_judged_on_the_same_rows() -> None:
    def span(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    def verdict(accuracy: float, auc: float) -> CompressVerdict:
        model = {"name": "compressed", "density": 0.05, "accuracy": span(accuracy)}
        attacks = {"loss.auc": span(auc), "loss.tpr@0.01": span(0.9), "gap.auc": span(auc - 0.1)}
        row = model | {"attacks": attacks, "difference_to_dense": None}
        return CompressVerdict.from_json(synthetic("PASS") | {"comparison": [row]})

    runs = {"a": verdict(0.7, 0.6), "b": verdict(0.6, 0.7), "c": verdict(0.9, 0.51)}
    document = runs_side_by_side(runs, {"a": "1" * 64, "b": "1" * 64, "c": "2" * 64}).to_json()
    rows = rows_of(document)
    assert [row["method"] for row in document["rows"]] == [f"{n}: compressed" for n in "abc"]
    assert rows["a: compressed"]["strongest"] == {"attack": "loss", **span(0.6)}
    assert [rows[f"{n}: compressed"]["pareto"] for n in "abc"] == [True, False, True]
    assert "a: compressed" in table_markdown(document)
    # Of rows that nobody knows, no two runs stand together.
    document = runs_side_by_side(runs, dict.fromkeys("abc", "")).to_json()
    assert all(row["pareto"] for row in document["rows"])
    assert len({row["data"] for row in document["rows"]}) == 3
