"""`front_matter`: the YAML at the head of a model card, as the Hugging Face Hub reads it.

The keys are those of the Hub's model cards: `tags`, and `model-index` with one result per figure.
"""

from __future__ import annotations

from typing import Any

import yaml

from safecompress.report.figures import strongest_attack
from safecompress.verdicts.export_document import ExportVerdict

_LEFT = "# For you to add before you publish it: license, language, datasets.\n"
_TAGS = ("safecompress", "model-compression", "membership-inference")


def front_matter(document: ExportVerdict) -> str:
    """Return the metadata block of a card, its fences included.

    Its results are the file's accuracy and the AUC of the strongest attack on it, both on the
    sealed rows. License, language and names of data sets are left to the author.

    Args:
        document: the verdict on the file.
    """
    results = [_result(metric, document) for metric in _metrics(document)]
    found: dict[str, Any] = {"tags": [*_TAGS, document.file.format]}
    if results:
        found["model-index"] = [{"name": document.file.name, "results": results}]
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{_LEFT}{text}---\n"


def _metrics(document: ExportVerdict) -> list[dict[str, Any]]:
    metrics: list[dict[str, Any]] = []
    if document.retest.accuracy is not None:
        metrics.append({"type": "accuracy", "value": document.retest.accuracy, "name": "Accuracy"})
    strongest = strongest_attack(document.to_json())
    if strongest is not None:
        name = f"AUC of the strongest membership-inference attack ({strongest.attack})"
        metrics.append({"type": "roc_auc", "value": strongest.span.value, "name": name})
    return metrics


def _result(metric: dict[str, Any], document: ExportVerdict) -> dict[str, Any]:
    rows = document.retest.rows
    sealed = f"sealed rows: {rows.members:,} members, {rows.nonmembers:,} non-members"
    return {
        "task": {"type": "classification", "name": "Classification"},
        "dataset": {"type": "sealed-rows", "name": sealed, "split": "sealed"},
        "metrics": [metric],
    }
