"""The report page: whatever the run folder holds, it is one well-formed, self-contained file."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from safecompress.errors import RunFolderError
from safecompress.report import render_report, write_report
from tests.report_cases import (
    CASES,
    ODD,
    WITHOUT_PAIR,
    every_case,
    hostile,
    page,
    rendered,
)
from tests.report_fixture import (
    figures,
    history,
    provenance,
    verdict,
    write_run,
)
from tests.report_page import Page
from tests.support import count


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
    assert {p.name for p in folder.iterdir()} == {*before, "summary.html"}


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
