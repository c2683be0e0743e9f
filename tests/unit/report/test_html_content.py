"""The report page: what it shows of a run, and what it says about missing and damaged files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from safecompress.report import render_report
from safecompress.report.view_transfer import undominated
from safecompress.report.wording import figure
from tests.report_cases import (
    page,
    rendered,
)
from tests.report_fixture import (
    CONFIG,
    figures,
    history,
    verdict,
    write_run,
)
from tests.report_page import Page


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("PASS", "pass"), ("FAIL", "fail"), ("INCONCLUSIVE", "inconclusive"), ("ERROR", "error"),
        ("NEW", "NEW"), (None, "error"),
    ],
)  # fmt: skip
def test_the_verdict_is_worded(status: str | None, word: str, tmp_path: Path) -> None:
    given = verdict(str(status)) | {"verdict": status, "sentence": "First of all. Then more."}
    found = Page.of(render_report(write_run(tmp_path / "run", verdict_json=given)))
    hero = found.by_id("verdict")
    css = word if word != "NEW" else "error"
    assert hero.attributes["class"] == f"hero {css}"
    badge = next(e for e in found.all("span") if "badge" in e.attributes.get("class", ""))
    assert badge.text == word
    assert badge.attributes["class"] == f"badge {css}"
    assert [e.text for e in found.all("p") if e.attributes.get("class") == "sentence"] == [
        "First of all."
    ]


def test_key_figures() -> None:
    hero = " ".join(page("full").by_id("verdict").text.split())
    assert "10.0% 37,046 of 371,200 maskable weights kept" in hero.replace("%37", "% 37")
    assert "dense model 72.4%; difference −0.8 points [−2.3, +0.6]" in hero
    assert ".547" in hero
    assert "[.526, .568] AUC of the attack “neural”" in hero
    assert "6 of 7" in hero
    assert "2 of 2 controls" in hero


def test_the_scope_and_the_next_steps_stand_under_the_headline(tmp_path: Path) -> None:
    more = {"next_steps": ["Do <this>.", "Then that."], "remarks": ["It was odd."]}
    found = Page.of(render_report(write_run(tmp_path / "run", verdict_json=verdict() | more)))
    hero = " ".join(found.by_id("verdict").text.split())
    assert "What to do next Do <this>. 1 more below." in hero.replace("nextDo", "next Do")
    assert "Also to do Then that." in hero
    judged, _, left_out = verdict()["scope"].partition("; ")
    assert f"{judged.capitalize()}; 1,250 members and 1,260 non-members." in hero
    assert f"{left_out.capitalize()}." in hero
    assert "Noticed: It was odd." in hero


def test_controls_that_held_are_one_line_and_others_are_rows(tmp_path: Path) -> None:
    assert "2 controls of the tests held" in page("full").texts("summary")
    given = verdict()
    given["checks"][-1]["status"] = "ERROR"
    given["checks"][-1]["advice"] = "Mend the tests."
    found = Page.of(render_report(write_run(tmp_path / "run", verdict_json=given)))
    assert "1 control of the tests held" in found.texts("summary")
    rows = found.texts("tr")
    assert any("no leak, loss" in row and "Mend the tests." in row for row in rows)
    assert not any("a planted leak was found" in row for row in rows)


def test_an_undecided_warning_says_so(tmp_path: Path) -> None:
    given = verdict()
    given["checks"][7] |= {"status": "WARN", "decided": False}
    found = Page.of(render_report(write_run(tmp_path / "run", verdict_json=given)))
    assert any(row.startswith("undecided") for row in found.texts("tr"))


def row_texts(case: str, section: str) -> list[str]:
    parts = rendered(case).split('<section id="')
    body = next(p for p in parts if p.startswith(f'{section}"'))
    return [t for t in Page.of(f'<section id="{body}'.split("</section>")[0]).texts("tr") if t]


def test_every_check_has_a_row_with_its_figures() -> None:
    rows = row_texts("full", "checks")
    rows.remove(rows[0])
    repeated = rows.index(next(row for row in rows if row.startswith("Status")))
    assert len(rows[repeated + 1 :]) == 2
    rows.remove(rows[repeated])
    controls = [c for c in verdict()["checks"] if c["name"].startswith("control:")]
    assert len(rows) == len(verdict()["checks"]) - len(controls)
    accuracy = next(r for r in rows if r.startswith("pass accuracy critical"))
    assert "−0.8 points [−2.2, +0.7]" in accuracy or "−0.8 points [−2.3, +0.7]" in accuracy
    assert "≥ dense −5.0 points" in accuracy
    assert "– / 1,260" in accuracy
    absent = next(r for r in rows if "shadow" in r)
    assert "not run" in absent
    assert "which this audit does not have" in absent


def test_behind_every_plot_is_a_table() -> None:
    plots = [e for e in page("full").all("svg") if "data-reads" in e.attributes]
    tables = [e for e in page("full").all("details") if e.attributes.get("class") == "readings"]
    # The curves of questions have a table, too, but no read-out at the pointer.
    assert len(plots) == 6
    assert len(tables) == 7
    drawn = figures(("dense",))
    curve = drawn["roc"]["dense"]["loss"]
    found = max(t for f, t in zip(curve["fpr"], curve["tpr"], strict=True) if f <= 0.1)
    assert f"10.0%{figure(found, 'percent')}" in "".join(tables[0].text.split())
    counts = drawn["loss"]["dense"]["members"]
    assert tables[3].text.count(" to ") == len(counts)
    assert figure(max(counts) / sum(counts), "percent") in tables[3].text


def test_every_legend_entry_names_something_drawn() -> None:
    series = {e.attributes.get("data-series") for e in page("full").elements}
    entries = {e.attributes.get("data-toggle") for e in page("full").all("li")} - {None}
    assert entries == {
        *("dense", "magnitude", "compressed", "members", "non-members", "not chosen", "discarded")
    }
    assert entries <= series


def test_comparison_shows_models_and_differences() -> None:
    rows = row_texts("full", "comparison")
    assert "magnitude − dense" in rows[0]
    loss = next(r for r in rows if r.startswith("loss AUC"))
    assert re.search(r"\.771 ?\[\.750, \.792\]", loss)
    assert re.search(r"−\.232 ?\[−\.251, −\.213\]", loss)
    assert "− dense" not in row_texts("no dense model", "comparison")[0]


def test_every_candidate_has_a_row_and_a_node() -> None:
    lines = history(6, 4)
    rows = [e for e in page("full").all("tr") if e.attributes.get("id", "").startswith("candid")]
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert line["candidate"] in row.text
        assert line["reason"] in row.text
    nodes = [e for e in page("full").all("a") if e.attributes["href"].startswith("#candidate-")]
    assert len(nodes) == len(lines)
    assert all(node.attributes["aria-label"] for node in nodes)


def test_what_was_left_out_is_said() -> None:
    assert "800 later candidates are not drawn" in rendered("1200 candidates")
    assert "The first 1000 of 1200 are listed" in rendered("1200 candidates")
    assert "config.yaml is long" in rendered("10,000 classes")
    assert "(10,000 in all)" in rendered("10,000 classes")


@pytest.mark.parametrize(
    "name", ["figures.json", "provenance.json", "history.jsonl", "config.yaml"]
)
def test_a_missing_file_is_noted(name: str, tmp_path: Path) -> None:
    assert "This page is not complete" not in rendered("full")
    found = render_report(write_run(tmp_path / "run", leave_out=(name,)))
    assert "This page is not complete" in found
    assert f"{name} is missing" in found


def test_damaged_files_are_noted() -> None:
    for note in ("figures.json is damaged", "provenance.json is damaged", "3 damaged lines"):
        assert note in rendered("damaged")


def test_seed_and_digests_are_in_the_provenance() -> None:
    facts = " ".join(page("full").by_id("provenance").text.split())
    assert "seed7" in facts
    assert hashlib.sha256(b"sealed").hexdigest() in facts
    assert hashlib.sha256(CONFIG.encode()).hexdigest() in facts


def test_a_later_schema_is_noted(tmp_path: Path) -> None:
    given = json.loads(json.dumps(verdict())) | {"schema_version": 2}
    assert "schema version 2" in render_report(write_run(tmp_path / "run", verdict_json=given))


def test_what_a_pair_gives_away_is_shown() -> None:
    transfer = next(e for e in page("full").all("section") if e.attributes.get("id") == "transfer")
    assert "● 30.0%" in " ".join(transfer.text.split())
    pictures = page("full").all("img")
    assert len(pictures) == 3
    assert all(p.attributes["alt"] for p in pictures)
    names = {e.attributes.get("id") for e in page("full").all("svg")}
    assert {"questions-1", "front-members", "front-0", "alike-0"} <= names


BAD = ["bm8gcGljdHVyZQ==", 'iVBORw0KGgo" onerror="a()', "iVBORw0KGgo" + "A" * 300_000]


@pytest.mark.parametrize("bad", BAD)
def test_only_pictures_are_pictures(bad: str, tmp_path: Path) -> None:
    drawn = figures(("dense", "compressed"))
    drawn["transfer"][0]["examples"][0]["point"] = bad
    shown = render_report(write_run(tmp_path / "run", figures_json=drawn))
    assert Page.of(shown).all("img") == []
    assert bad not in shown


def test_who_is_beaten_in_nothing_is_on_the_front() -> None:
    best = undominated([(1.0, 2.0, 3.0), (2.0, 1.0, 3.0), (2.0, 2.0, 3.0), (1.0, 2.0, 3.0)])
    assert best == [True, True, False, True]
