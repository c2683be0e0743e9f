"""A set of files in the report, in Markdown and in JUnit, whatever its document holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safecompress.files import write_json
from safecompress.report.html import render_report
from safecompress.report.junit import junit_xml
from safecompress.report.markdown import markdown_summary

SCRIPT = "<script>alert(1)</script>.onnx"


def held(*files: str, value: float) -> dict[str, Any]:
    auc = {"value": value, "low": value - 0.02, "high": value + 0.02}
    return {"files": list(files), "attack": "pair", "auc": auc}


def document() -> dict[str, Any]:
    files = [
        held(value=0.5 + i / 100)
        | {"name": name, "verdict": "PASS", "accuracy": 0.8, "exposed": 3 + i}
        for i, name in enumerate(("a.onnx", "b.onnx", SCRIPT))
    ]
    pairs = [held("a.onnx", "b.onnx", value=0.71), held("b.onnx", SCRIPT, value=0.63)]
    return {
        "schema_version": 1,
        "kind": "joint",
        "verdict": "FAIL",
        "sentence": "Not safe to ship.",
        "files": files,
        "pairs": pairs,
        "best_pair": pairs[0],
        "family": held("a.onnx", "b.onnx", SCRIPT, value=0.77),
        "newly_exposed_by_set": {
            "attack": "pair",
            "files": ["a.onnx", "b.onnx"],
            "false_positive_rate": 0.01,
            "members": 400,
            "rate": 0.05,
            "rows": list(range(1000, 1020)),
        },
        "dense": "secret",
        "checks": [],
    }


def shown(verdict: dict[str, Any], folder: Path) -> tuple[str, str, str]:
    write_json(folder / "verdict.json", verdict)
    return render_report(folder), markdown_summary(verdict), junit_xml(verdict, name="set")


def test_singles_best_pair_family_and_new_members_are_shown(tmp_path: Path) -> None:
    page, markdown, junit = shown(document(), tmp_path)
    for text in (page, markdown, junit):
        for figure in (".500", ".510", ".520", ".710", ".770"):
            assert figure in text
        assert "20 of 400 members (5.0%)" in text
        assert "<script>alert" not in text.replace("script&gt;", "")
    assert "1000, 1001" in page
    assert "1 more pair" in page
    assert ".630" in page


@pytest.mark.parametrize("wrong", [None, 3, "x", [], [None], {}, {"files": 1}, [{"auc": "x"}]])
def test_a_damaged_set_is_shown_as_far_as_it_goes(wrong: Any, tmp_path: Path) -> None:
    whole = document()
    for name in ("files", "pairs", "best_pair", "family", "newly_exposed_by_set", "dense"):
        shown(whole | {name: wrong}, tmp_path)


def test_a_single_model_has_no_set(tmp_path: Path) -> None:
    page, markdown, junit = shown(document() | {"kind": "audit"}, tmp_path)
    assert 'id="set"' not in page
    assert "| held |" not in markdown
    assert "held." not in junit
