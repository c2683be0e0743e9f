"""`safecompress report` writes a verdict in the forms that are asked for, from its files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from safecompress.cli import app
from safecompress.errors import ConfigError, RunFolderError
from safecompress.report.ours import is_ours
from tests.report_fixture import check, span, write_run

EXPORT: dict[str, Any] = {
    "schema_version": 1, "kind": "export", "status": "FAIL", "sentence": "It leaks.",
    "file": {"name": "m.onnx", "format": "onnx", "bytes": 10}, "model": {"architecture": "mlp"},
    "checks": [check("accuracy as before", "FAIL", span(-0.1, 0.01))],
    "retest": {"checks": [check("loss.auc ≤ 0.6", "PASS", span(0.5, 0.01))]},
}  # fmt: skip
FORMS = {"--junit": "v.xml", "--markdown": "v.md", "--sarif": "v.sarif", "--bom": "v.cdx.json"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path / "run")


def said(*words: object) -> str:
    done = CliRunner().invoke(app, ["report", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_form_of_a_run_is_written_beside_its_report(folder: Path) -> None:
    options = [word for option, path in FORMS.items() for word in (option, f"out/{path}")]
    output = said(folder, *options)
    assert (folder / "report.html").is_file()
    for option, path in FORMS.items():
        assert f"out/{path}" in output
        assert is_ours(Path("out") / path, option)
    assert ET.parse("out/v.xml").findall(".//failure")
    log = json.loads(Path("out/v.sarif").read_text())
    assert "error" in {result["level"] for result in log["runs"][0]["results"]}
    said(folder, *options)


def test_an_exported_files_verdict_is_read_from_its_json(folder: Path) -> None:
    Path("m.onnx.json").write_text(json.dumps(EXPORT))
    output = said("m.onnx.json", "--sarif", "m.sarif", "--markdown", "m.md", "--junit", "m.xml")
    assert "report.html" not in output
    (result,) = json.loads(Path("m.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (result["ruleId"], place) == ("faithful-file", "m.onnx")
    assert Path("m.md").read_text().startswith("### FAIL: m.onnx\n")
    suite = ET.parse("m.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_form_is_of_one_verdict(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--sarif: one file is of one verdict"):
        said(folder, folder, "--sarif", "v.sarif")


def test_nothing_else_is_replaced_and_nothing_else_is_read(folder: Path) -> None:
    Path("notes").write_text("precious")
    with pytest.raises(ConfigError, match="was not written by SafeCompress"):
        said(folder, "--sarif", "notes")
    assert Path("notes").read_text() == "precious"
    Path("other.json").write_text('{"kind": "runs"}')
    with pytest.raises(RunFolderError, match="not the document of an exported file"):
        said("other.json", "--sarif", "v.sarif")
    with pytest.raises(RunFolderError, match="no such folder"):
        said("nowhere", "--sarif", "v.sarif")
