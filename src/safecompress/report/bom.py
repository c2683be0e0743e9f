"""`bill_of_materials`: a verdict as a CycloneDX 1.6 bill of materials of a machine-learning model.

The format is ECMA-424 in its edition of CycloneDX 1.6. The JSON is made here: the classes of
`cyclonedx-python-lib` have no model card (as of version 11.12), and its validator reads the result.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from safecompress.report.bom_components import data_of, hashes_of, libraries_of
from safecompress.report.document_facts import status_of
from safecompress.report.evidence import Evidence
from safecompress.report.figures import MeasuredFigure, figures_of
from safecompress.report.safe import LONGEST_SENTENCE, mapping, sequence, text
from safecompress_command import __version__

_MODEL = "model"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def bill_of_materials(evidence: Evidence) -> str:
    """Return the text of a bill of materials: model, data, libraries, figures and limits.

    The licenses and the origin of the data are nothing that a verdict knows; they are left to the
    author. The same evidence gives the same text.

    Args:
        evidence: the verdict with what lies beside it.
    """
    data = data_of(evidence)
    libraries = libraries_of(evidence)
    others = [component["bom-ref"] for component in (*data, *libraries)]
    metadata: dict[str, Any] = {
        "tools": {
            "components": [{"type": "application", "name": "safecompress", "version": __version__}]
        },
        "component": _model(evidence, data),
    }
    created = text(evidence.provenance.get("created"))
    if _TIME.fullmatch(created):
        metadata = {"timestamp": created} | metadata
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": [*data, *libraries],
        "dependencies": [{"ref": _MODEL, "dependsOn": others}],
    }
    content = json.dumps(bill, sort_keys=True)
    serial = uuid.uuid5(uuid.NAMESPACE_OID, content)
    return json.dumps({"serialNumber": f"urn:uuid:{serial}"} | bill, indent=2) + "\n"


def _model(evidence: Evidence, data: list[dict[str, Any]]) -> dict[str, Any]:
    document, model = evidence.document, mapping(evidence.document.get("model"))
    name = text(model.get("name")) or text(model.get("architecture")) or evidence.name
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": name or "model",
        "description": text(document.get("sentence"), longest=LONGEST_SENTENCE),
        "modelCard": _card(evidence, data),
        "properties": list(_properties(evidence)),
    }
    component |= hashes_of(_digest_of(evidence))
    if files := _files(evidence):
        component["components"] = files
    if pedigree := _pedigree(evidence):
        component["pedigree"] = pedigree
    return component


def _files(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the files of an audited model with their digests; none where they are not known."""
    digests = mapping(mapping(evidence.provenance.get("audited")).get("sha256"))
    return [
        {"type": "file", "bom-ref": f"file:{index}", "name": text(name) or "file", **hashes_of(of)}
        for index, (name, of) in enumerate(digests.items())
    ]


def _digest_of(evidence: Evidence) -> object:
    """Return the SHA-256 of the judged file, as its document or its provenance has it."""
    document = evidence.document
    files = mapping(mapping(evidence.provenance.get("audited")).get("sha256"))
    if len(files) == 1:
        return next(iter(files.values()))
    name = mapping(document.get("file")).get("name")
    if name is not None:
        return mapping(document.get("sha256")).get(name)
    return mapping(document.get("model")).get("sha256")


def _pedigree(evidence: Evidence) -> dict[str, Any]:
    """Return the model that the judged one was made from, by its digest, and on which way."""
    document = evidence.document
    lineage = [text(step) for step in sequence(mapping(document.get("model")).get("lineage"))]
    ancestor: dict[str, Any] = {"type": "machine-learning-model"}
    if document.get("kind") == "export":
        run = text(mapping(document.get("run")).get("name"))
        ancestor |= {"name": f"model of the run {run}".rstrip()}
        ancestor |= hashes_of(mapping(document.get("sha256")).get("model.safetensors"))
    else:
        ancestor |= {"name": "dense model"} | hashes_of(evidence.dense_sha256)
    found: dict[str, Any] = {"ancestors": [ancestor]} if "hashes" in ancestor else {}
    return found | ({"notes": f"Rounds: {', '.join(lineage)}."} if lineage else {})


def _card(evidence: Evidence, data: list[dict[str, Any]]) -> dict[str, Any]:
    document, model = evidence.document, mapping(evidence.document.get("model"))
    architecture = text(model.get("architecture")) or text(model.get("name"))
    parameters: dict[str, Any] = {
        "approach": {"type": "supervised"},
        "task": "classification",
        "datasets": [{"ref": component["bom-ref"]} for component in data],
    }
    if architecture:
        parameters["modelArchitecture"] = architecture
    if inputs := text(model.get("inputs")):
        parameters["inputs"] = [{"format": inputs}]
    if outputs := text(model.get("outputs")):
        parameters["outputs"] = [{"format": outputs}]
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": [_metric(f) for f in figures_of(document)]},
        "considerations": _considerations(document),
    }


def _metric(figure: MeasuredFigure) -> dict[str, Any]:
    span = figure.span
    metric: dict[str, Any] = {"type": figure.name, "value": _number(span.value)}
    if figure.rows:
        metric["slice"] = figure.rows
    bounds = {"lowerBound": span.low, "upperBound": span.high}
    known = {end: _number(bound) for end, bound in bounds.items() if bound is not None}
    return metric | ({"confidenceInterval": known} if known else {})


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _considerations(document: Mapping[str, Any]) -> dict[str, Any]:
    scope = text(document.get("scope"), longest=LONGEST_SENTENCE)
    said = [f"Tested: {scope}."] if scope else []
    if standard := text(document.get("standard"), longest=LONGEST_SENTENCE):
        said.append(standard)
    retest = mapping(document.get("retest"))
    if left_out := [text(name) for name in sequence(retest.get("not_repeated"))]:
        said.append(f"Not repeated on the file: {', '.join(left_out)}.")
    said += [text(each, longest=LONGEST_SENTENCE) for each in sequence(document.get("limits"))]
    steps = [text(step, longest=LONGEST_SENTENCE) for step in sequence(document.get("next_steps"))]
    risk = {
        "name": "Records of the training data are told from others (membership inference): "
        f"{status_of(document)}. {text(document.get('sentence'), longest=LONGEST_SENTENCE)}"
    }
    if steps:
        risk["mitigationStrategy"] = " ".join(steps)
    found: dict[str, Any] = {"technicalLimitations": said, "ethicalConsiderations": [risk]}
    if use := text(document.get("use"), longest=LONGEST_SENTENCE):
        found["useCases"] = [use]
    return found


def _properties(evidence: Evidence) -> Iterator[dict[str, str]]:
    document, made = evidence.document, evidence.provenance
    model, retest = mapping(document.get("model")), mapping(document.get("retest"))
    known = {
        "verdict": status_of(document),
        "density": model.get("density"),
        "nonzeros": model.get("nonzeros"),
        "parameters": model.get("parameters"),
        "format": mapping(document.get("file")).get("format"),
        "bytes": mapping(document.get("file")).get("bytes"),
        "seed": made.get("seed"),
        "interval-level": document.get("level", retest.get("level")),
        "looks": document.get("looks", retest.get("looks")),
        "config-sha256": made.get("config_sha256")
        or mapping(document.get("sha256")).get("config.yaml"),
        "commit": made.get("commit"),
    }
    for name, value in known.items():
        if shown := text(value):
            yield {"name": f"safecompress:{name}", "value": shown}
