"""The report page: whatever the run folder holds, it is one well-formed, self-contained file."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from safecompress.errors import RunFolderError
from safecompress.report import render_report, write_report
from safecompress.report.view_transfer import undominated
from safecompress.report.wording import figure
from tests.report_fixture import (
    CONFIG,
    NOTHING,
    check,
    figures,
    history,
    provenance,
    verdict,
    write_run,
)
from tests.report_page import Page
from tests.support import count

EVIL = (
    "</td></script><script>alert('1')</script>\"><img src=https://evil.test/x onerror=a()>"
    "\x00\x1b\ud800"
)
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -1e308, 1e-320, 10**400, "", "text", [], [None], {}, {"a": None},
    float("nan"), float("inf"), [[1]], [float("nan"), 1, "x"],
)  # fmt: skip


def not_run() -> dict[str, Any]:
    checks = [check("neural.auc", "NOT_RUN", NOTHING, message="needs 'shadows'")]
    return verdict("ERROR") | {"checks": checks}


def error() -> dict[str, Any]:
    return verdict("ERROR") | {
        "sentence": "", "checks": [], "comparison": [], "model": {}, "power": {}, "limits": [],
    }  # fmt: skip


def poisoned(value: Any) -> Any:
    """Return `value` with every string, keys with meaning apart, followed by hostile markup."""
    if isinstance(value, dict):
        return {k: poisoned(v) for k, v in value.items()} | {EVIL: EVIL, f"{EVIL}.auc": 0.7}
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return value + EVIL if isinstance(value, str) else value


def hostile(folder: Path) -> Path:
    drawn = poisoned(figures(("dense", "compressed")))
    drawn["roc"][EVIL] = {EVIL: figures(("dense",))["roc"]["dense"]["loss"]}
    return write_run(
        folder,
        verdict_json=poisoned(verdict()),
        history_lines=[poisoned(line) for line in history(3, 4)],
        figures_json=drawn,
        provenance_json=poisoned(provenance()),
        config=CONFIG + EVIL.encode(errors="replace").decode(),
    )


def many_classes(folder: Path) -> Path:
    names = [f"class number {i} with a rather long name" for i in range(10_000)]
    made = provenance() | {"class_names": names, "by_class": dict.fromkeys(names, 1)}
    config = CONFIG + "names:\n" + "".join(f"  - {name}\n" for name in names)
    return write_run(folder, provenance_json=made, config=config)


def damaged(folder: Path) -> Path:
    write_run(folder)
    (folder / "figures.json").write_text("{")
    (folder / "provenance.json").write_text("[1]")
    (folder / "history.jsonl").write_bytes(
        b'{"round": 1, "candidate": "a"}\n{"round"\n\xff\xfe\n3\n'
    )
    (folder / "config.yaml").write_bytes(b"\xff\x00")
    return folder


CASES: dict[str, Callable[[Path], Path]] = {
    "full": write_run,
    "no dense model": lambda f: write_run(
        f, verdict_json=verdict("PASS", dense=False), figures_json=figures(("compressed",))
    ),
    "no history": lambda f: write_run(f, history_lines=[]),
    "not run": lambda f: write_run(f, verdict_json=not_run()),
    "one round": lambda f: write_run(f, history_lines=history(1, 4)),
    "one candidate": lambda f: write_run(f, history_lines=history(1, 1)),
    "200 candidates": lambda f: write_run(f, history_lines=history(5, 40)),
    "200 rounds": lambda f: write_run(f, history_lines=history(200, 1)),
    "1200 candidates": lambda f: write_run(f, history_lines=history(10, 120)),
    "all discarded": lambda f: write_run(f, history_lines=history(3, 4, discarded_every=1)),
    "error": lambda f: write_run(f, verdict_json=error()),
    "inconclusive": lambda f: write_run(f, verdict_json=verdict("INCONCLUSIVE")),
    "10,000 classes": many_classes,
    "hostile": hostile,
    "verdict only": lambda f: write_run(
        f, leave_out=("figures.json", "provenance.json", "history.jsonl", "config.yaml")
    ),
    "damaged": damaged,
    "empty": lambda f: write_run(
        f, verdict_json={}, figures_json={}, provenance_json={}, history_lines=[{}], config=""
    ),
}


@cache
def rendered(case: str) -> str:
    with TemporaryDirectory() as folder:
        return render_report(CASES[case](Path(folder) / "run"))


WITHOUT_PAIR = {"verdict only", "damaged", "empty"}


@cache
def page(case: str) -> Page:
    return Page.of(rendered(case))


def every_case(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("case", CASES)(test)


@every_case
def test_tags_nest_and_ids_are_unique(case: str) -> None:
    assert page(case).faults == []
    identities = [e.attributes["id"] for e in page(case).elements if "id" in e.attributes]
    assert [i for i, n in Counter(identities).items() if n > 1] == []


@every_case
def test_nothing_is_asked_of_any_network(case: str) -> None:
    loads = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster"}
    targets = {
        value for e in page(case).elements for key, value in e.attributes.items() if key in loads
    }
    inside = ("#", "data:image/png;base64,")
    assert {t for t in targets if not t.startswith(inside)} == {"data:,"}
    own = [e.text for e in page(case).elements if e.tag in {"style", "script"}]
    # The name of the SVG vocabulary is no address to load from.
    loading = r"url\(|@import|https?:(?!//www\.w3\.org/2000/svg\")|fetch\(|XMLHttp|import\("
    for content in own:
        assert re.search(loading, content) is None


@every_case
def test_only_our_own_script_may_run(case: str) -> None:
    scripts = page(case).all("script")
    assert len(scripts) == 1
    styles = page(case).all("style")
    assert len(styles) == 1
    policy = next(
        e.attributes["content"]
        for e in page(case).all("meta")
        if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    for kind, element in (("script", scripts[0]), ("style", styles[0])):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert [e for e in page(case).elements if "style" in e.attributes] == []
    assert "default-src 'none'" in policy
    assert [k for e in page(case).elements for k in e.attributes if k.startswith("on")] == []


@every_case
def test_size_and_encoding(case: str) -> None:
    assert len(rendered(case).encode()) < 2_000_000
    assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", rendered(case)) is None


@every_case
def test_links_inside_the_page_lead_somewhere(case: str) -> None:
    targets = {e.attributes["href"][1:] for e in page(case).all("a")}
    assert targets <= {e.attributes.get("id") for e in page(case).elements}


@every_case
def test_headings_go_down_one_level_at_a_time(case: str) -> None:
    levels = [int(e.tag[1]) for e in page(case).elements if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


@every_case
def test_tables_and_pictures_speak(case: str) -> None:
    tables, captions = page(case).all("table"), page(case).texts("caption")
    assert len(captions) == len(tables)
    assert all(captions)
    assert all("scope" in e.attributes for e in page(case).all("th"))
    texts = {e.attributes["id"]: e.text for e in page(case).elements if "id" in e.attributes}
    for picture in page(case).all("svg"):
        if picture.attributes.get("aria-hidden") == "true":
            continue
        assert picture.attributes["role"] in {"img", "group"}
        names = picture.attributes["aria-labelledby"].split()
        assert len(names) == 2
        assert all(texts[name].strip() for name in names)


@every_case
def test_the_sections_come_in_order(case: str) -> None:
    sections = [e.attributes["aria-labelledby"] for e in page(case).all("section")]
    assert sections == [
        f"{name}-head"
        for name in ("verdict", "checks", "comparison", "roc", "losses", "transfer", "rounds",
                     "layers", "costs", "limits", "provenance")
        if name != "transfer" or case not in WITHOUT_PAIR
    ]  # fmt: skip


@pytest.mark.parametrize("case", ["full", "hostile", "damaged"])
def test_the_same_files_give_the_same_page(case: str, tmp_path: Path) -> None:
    assert render_report(CASES[case](tmp_path / "run")) == rendered(case)


def test_hostile_names_are_shown_not_obeyed() -> None:
    assert page("hostile").all("img") == []
    assert "<script>alert" not in rendered("hostile")
    assert "&lt;script&gt;alert" in rendered("hostile")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("PASS", "pass"), ("FAIL", "fail"), ("INCONCLUSIVE", "inconclusive"), ("ERROR", "error"),
        ("NEW", "NEW"), (None, "error"),
    ],
)  # fmt: skip
def test_the_verdict_is_worded(status: str | None, word: str, tmp_path: Path) -> None:
    given = verdict() | {"verdict": status, "sentence": "First of all. Then more."}
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


def row_texts(case: str, section: str) -> list[str]:
    parts = rendered(case).split('<section id="')
    body = next(p for p in parts if p.startswith(f'{section}"'))
    return [t for t in Page.of(f'<section id="{body}'.split("</section>")[0]).texts("tr") if t]


def test_every_check_has_a_row_with_its_figures() -> None:
    rows = row_texts("full", "checks")
    assert len(rows) == 1 + len(verdict()["checks"]) + 1
    accuracy = next(r for r in rows if "accuracy critical" in r)
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


def mutated(value: Any, draw: random.Random) -> Any:
    """Return `value` with some of its parts replaced by odd ones."""
    if draw.random() < 0.08:
        return draw.choice(ODD)
    if isinstance(value, dict):
        return {k: mutated(v, draw) for k, v in value.items()}
    if isinstance(value, list):
        return [mutated(v, draw) for v in value[:40]]
    return value


@pytest.mark.parametrize("seed", range(count(25, 500)))
def test_odd_values_never_stop_the_page(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    judged = mutated(verdict(), draw)
    lines = mutated(history(3, 3), draw)
    folder = write_run(
        tmp_path / "run",
        verdict_json=judged if isinstance(judged, dict) else {},
        history_lines=lines if isinstance(lines, list) else [],
        figures_json=mutated(figures(("dense", "compressed")), draw),
        provenance_json=mutated(provenance(), draw),
    )
    found = render_report(folder)
    assert Page.of(found).faults == []
    body = re.sub(r"<(style|script|pre)\b.*?</\1>", "", found, flags=re.DOTALL)
    assert re.search(r"\b(nan|inf)\b", body) is None


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_each_odd_value_in_the_place_of_every_figure(odd: Any, tmp_path: Path) -> None:
    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: replaced(v) for k, v in value.items()}
        if isinstance(value, list):
            return [replaced(v) for v in value]
        return odd if isinstance(value, float | int) else value

    folder = write_run(
        tmp_path / "run",
        verdict_json=replaced(verdict()),
        history_lines=replaced(history(2, 2)),
        figures_json=replaced(figures(("dense", "compressed"))),
        provenance_json=replaced(provenance()),
    )
    assert Page.of(render_report(folder)).faults == []


def test_the_report_is_written_whole(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "report.html").write_text("old")
    before = {p.name for p in folder.iterdir()}
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == render_report(folder)
    assert {p.name for p in folder.iterdir()} == before


def test_a_hostile_report_can_be_written(tmp_path: Path) -> None:
    assert write_report(hostile(tmp_path / "run")).stat().st_size > 0


@pytest.mark.parametrize("content", [None, "{", "[]", "3", "[" * 100_000])
def test_without_a_verdict_there_is_no_report(content: str | None, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", leave_out=("verdict.json",))
    if content is not None:
        (folder / "verdict.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"verdict\.json"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such folder"):
        render_report(tmp_path / "absent")


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
