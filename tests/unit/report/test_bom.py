"""Bills of materials: valid by CycloneDX, the same for the same verdict, figures as the verdict."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.files import sha256
from safecompress.report import Evidence, bill_of_materials, read_evidence
from safecompress.report.figures import figures_of, strongest_attack
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.export_document import ExportVerdict
from tests.report_fixture import check, provenance, span, verdict, write_run
from tests.verdict_documents import JSON, TEXT, parts

DOCUMENTS = st.one_of(parts(CompressVerdict), parts(AuditVerdict), parts(ExportVerdict))


def evidence_of(document: dict[str, Any], **more: Any) -> Evidence:
    return Evidence("run", document, more.pop("made", provenance()), "model.safetensors", **more)


def bill_of(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    bill: dict[str, Any] = json.loads(bill_of_materials(evidence_of(document, **more)))
    return bill


def test_bills_are_valid_by_the_schema_of_cyclonedx(tmp_path: Path) -> None:
    reason = "needs cyclonedx-python-lib[json-validation], which holds the schema of CycloneDX"
    pytest.importorskip("cyclonedx", reason=reason)
    pytest.importorskip("jsonschema", reason=reason)
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)

    @settings(max_examples=20, deadline=None)
    @given(DOCUMENTS, st.dictionaries(TEXT, JSON, max_size=3))
    def law(document: Any, made: dict[str, Any]) -> None:
        text = bill_of_materials(evidence_of(document.to_json(), made=made))
        assert validator.validate_str(text) is None

    law()
    files = {"audited": {"sha256": {"model.onnx": "a" * 64, "w.bin": "b" * 64}}}
    assert validator.validate_str(bill_of_materials(evidence_of(verdict(), made=files))) is None
    outputs = {"audited": {"file": "o.npz", "sha256": "c" * 64}}
    assert validator.validate_str(bill_of_materials(evidence_of(verdict(), made=outputs))) is None
    whole = bill_of_materials(read_evidence(run_with_dense(tmp_path / "run")))
    assert validator.validate_str(whole) is None
    broken = json.loads(whole)
    broken["metadata"]["component"]["modelCard"]["invented"] = 1
    assert validator.validate_str(json.dumps(broken)) is not None


def run_with_dense(folder: Path) -> Path:
    write_run(folder)
    (folder / "dense.safetensors").write_bytes(b"dense")
    return folder


def test_every_figure_of_a_check_is_there_with_its_interval_and_its_rows() -> None:
    document = verdict()
    metrics = bill_of(document)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]
    found = {(m["type"], m.get("slice")): m for m in metrics["performanceMetrics"]}
    for entry in document["checks"]:
        if entry["name"].startswith("control: ") or entry["value"] is None:
            continue
        named = [m for (name, _), m in found.items() if entry["name"].startswith(name.split()[0])]
        values = [(m["value"], m["confidenceInterval"]["lowerBound"]) for m in named]
        assert (f"{entry['value']:.6g}", f"{entry['low']:.6g}") in values, entry["name"]
    assert ("loss.auc minus the dense model's", "1250 members, 1260 non-members") in found
    assert not any(name.startswith("control") for name, _ in found)


def test_parents_and_data_are_named_by_their_digests(tmp_path: Path) -> None:
    folder = run_with_dense(tmp_path / "run")
    bill = json.loads(bill_of_materials(read_evidence(folder)))
    model = bill["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": verdict()["model"]["sha256"]}]
    (parent,) = model["pedigree"]["ancestors"]
    assert parent["hashes"][0]["content"] == sha256(folder / "dense.safetensors")
    digests = {c["name"]: c["hashes"][0]["content"] for c in bill["components"] if "hashes" in c}
    assert digests == {f"rows: {group}": of for group, of in provenance()["splits"].items()}
    assert set(bill["dependencies"][0]["dependsOn"]) == {c["bom-ref"] for c in bill["components"]}


def test_a_file_descends_from_the_model_of_its_run() -> None:
    made = provenance()
    digest = {"m.onnx": "a" * 64, "model.safetensors": "b" * 64, "sealed rows": "c" * 64}
    document = {
        "kind": "export", "status": "PASS", "file": {"name": "m.onnx", "format": "onnx"},
        "run": {"name": "demo"}, "sha256": digest, "data": {"sealed.members": "40"},
        "retest": {"accuracy": 0.7, "checks": [check("loss.auc ≤ 0.6", "PASS", span(0.5, 0.1))]},
    }  # fmt: skip
    del made["splits"], made["data"]
    bill = bill_of(document, made=made)
    model = bill["metadata"]["component"]
    assert model["hashes"][0]["content"] == "a" * 64
    assert model["pedigree"]["ancestors"][0]["hashes"][0]["content"] == "b" * 64
    (data,) = [c for c in bill["components"] if c["type"] == "data"]
    assert data["hashes"][0]["content"] == "c" * 64
    rows = {"name": "safecompress:rows:sealed.members", "value": "40"}
    assert data["data"][0]["contents"]["properties"] == [rows]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {m["type"]: m["value"] for m in metrics} == {"accuracy": "0.7", "loss.auc": "0.5"}


def test_an_audited_model_has_the_digests_of_its_files(tmp_path: Path) -> None:
    digests = {"model.onnx": "a" * 64}
    audited = {"model": "m/model.onnx", "kind": "onnx", "sha256": digests}
    judged = verdict() | {"kind": "audit", "model": {"name": "m", "outputs": "logits"}}
    one = bill_of(judged, made={"audited": audited})["metadata"]["component"]
    assert one["hashes"][0]["content"] == "a" * 64
    digests["weights.bin"] = "b" * 64
    two = bill_of(judged, made={"audited": audited})["metadata"]["component"]
    assert "hashes" not in two
    assert [file["hashes"][0]["content"] for file in two["components"]] == ["a" * 64, "b" * 64]
    folder = write_run(tmp_path / "run", verdict_json=judged, provenance_json={"audited": audited})
    assert read_evidence(folder).artifact == "m/model.onnx"


def test_recorded_outputs_are_data_and_no_model() -> None:
    audited = {"file": "outputs.npz", "sha256": "c" * 64}
    judged = verdict() | {"kind": "audit", "model": {"name": "outputs"}}
    bill = bill_of(judged, made={"audited": audited})
    assert "hashes" not in bill["metadata"]["component"]
    named = {c["name"]: c["hashes"] for c in bill["components"] if "hashes" in c}
    assert named["recorded outputs: outputs.npz"][0]["content"] == "c" * 64


def test_the_serial_number_is_of_the_contents() -> None:
    document = verdict()
    assert bill_of(document) == bill_of(copy.deepcopy(document))
    other = document | {"sentence": "Another."}
    assert bill_of(document)["serialNumber"] != bill_of(other)["serialNumber"]


def test_limits_and_scope_are_the_technical_limitations() -> None:
    document = verdict()
    said = bill_of(document)["metadata"]["component"]["modelCard"]["considerations"]
    assert said["technicalLimitations"] == [f"Tested: {document['scope']}.", *document["limits"]]


@pytest.mark.parametrize(("low", "high"), [(0.52, 0.6), (0.2, 0.52), (0.5, 0.51)])
def test_the_strongest_attack_is_the_farthest_from_guessing(low: float, high: float) -> None:
    entries = [
        check(f"{name}.auc ≤ 0.6", "PASS", span(value, 0.01), attack=name)
        for name, value in (("loss", low), ("neural", high))
    ]
    entries.append(check("class.auc ≤ 0.6", "FAIL", span(0.99, 0.01), attack="loss"))
    found = strongest_attack({"checks": entries})
    assert found is not None
    assert found.attack == ("loss" if abs(low - 0.5) > abs(high - 0.5) else "neural")
    assert strongest_attack({"checks": []}) is None


@settings(max_examples=25, deadline=None)
@given(DOCUMENTS)
def test_a_figure_is_said_once_of_the_same_rows(document: Any) -> None:
    found = [(figure.name, figure.rows) for figure in figures_of(document.to_json())]
    assert len(found) == len(set(found))
