"""Model cards: the Hub reads their metadata, and their text says what the verdict says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.checks import CheckResult, Status
from safecompress.export import FORMATS
from safecompress.export.card import model_card
from safecompress.protocols import Estimate
from safecompress.verdicts.export_document import ExportVerdict
from safecompress.verdicts.parts import CheckEntry
from tests.verdict_documents import parts

DOCUMENTS = parts(ExportVerdict)


def metadata_of(card: str) -> dict[str, Any]:
    head, fence, _ = card.removeprefix("---\n").partition("\n---\n")
    assert card.startswith("---\n")
    assert fence
    found: dict[str, Any] = yaml.safe_load(head)
    return found


@settings(max_examples=25, deadline=None)
@given(DOCUMENTS)
def test_metadata_is_yaml_and_its_figures_are_the_verdicts(document: Any) -> None:
    found = metadata_of(model_card(document))
    assert {"safecompress", document.file.format} <= set(found["tags"])
    assert "license" not in found
    given_ = metrics_of(found)
    assert given_.get("accuracy") == document.retest.accuracy


def metrics_of(found: dict[str, Any]) -> dict[str, Any]:
    results = [r for index in found.get("model-index", ()) for r in index["results"]]
    return {metric["type"]: metric["value"] for result in results for metric in result["metrics"]}


@settings(max_examples=25, deadline=None)
@given(DOCUMENTS, st.lists(st.floats(0.1, 0.9), min_size=1, max_size=4))
def test_the_strongest_attack_is_the_one_farthest_from_guessing(
    document: Any, aucs: list[float]
) -> None:
    def attacked(index: int, auc: float) -> CheckEntry:
        estimate = Estimate(auc, 0, 1, 9, 9)
        result = CheckResult(f"a{index}.auc ≤ 0.6", Status.PASS, True, "≤ 0.6", estimate, 0.0)
        return CheckEntry.of(replace(result, attack=f"a{index}"))

    checks = tuple(attacked(i, auc) for i, auc in enumerate(aucs))
    retest = document.retest.model_copy(update={"checks": checks})
    card = model_card(document.model_copy(update={"retest": retest, "checks": ()}))
    found = metrics_of(metadata_of(card))["roc_auc"]
    assert found in aucs
    assert abs(found - 0.5) == max(abs(auc - 0.5) for auc in aucs)


def test_the_hub_reads_the_metadata() -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, which reads cards")

    @settings(max_examples=25, deadline=None)
    @given(DOCUMENTS)
    def law(document: Any) -> None:
        card = hub.ModelCard(model_card(document), ignore_metadata_errors=False)
        results = card.data.eval_results or []
        measured = {result.metric_type: result.metric_value for result in results}
        accuracy = document.retest.accuracy
        assert measured.get("accuracy") == accuracy
        assert all(math.isfinite(value) for value in measured.values())
        assert card.data.license is None
        # The Hub reads what it writes itself.
        again = hub.ModelCard(str(card)).data
        assert again.to_dict() == card.data.to_dict()

    law()


@settings(max_examples=25, deadline=None)
@given(DOCUMENTS)
def test_a_card_names_every_check_that_a_file_could_not_repeat(document: Any) -> None:
    card = model_card(document)
    _, _, attacked = card.partition("## What was attacked")
    assert bool(document.retest.not_repeated) == ("not repeated on this file" in attacked)
    assert ("## How to use it" in card) == bool(document.usage)


@pytest.mark.parametrize("name", FORMATS.parts)
def test_a_formats_usage_is_python_once_the_file_is_named(name: str) -> None:
    usage = FORMATS.build(name, where="test").usage
    assert "{file}" in usage
    compile(usage.replace("{file}", json.dumps('odd "name".onnx')), name, "exec")
