"""`recalls`: what the model is worth to each class, in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.report.safe import mappings, number, text
from safecompress.report.wording import MISSING, Span, Value, count, figure, with_interval

MOST_CLASSES = 100


@dataclass(frozen=True)
class RecallRow:
    """How many rows of one class the models are right about."""

    name: str
    rows: Value
    recall: Value
    dense: Value
    difference: Value


@dataclass(frozen=True)
class Recalls:
    """The classes that lost most; `compared` tells whether there is a dense model."""

    rows: tuple[RecallRow, ...]
    compared: bool


def recalls(verdict: Mapping[str, Any]) -> Recalls:
    """Return the recall of classes; empty where it was not recorded.

    Args:
        verdict: the document of verdict.json.
    """
    rows = tuple(map(_row, mappings(verdict.get("by_class"))[:MOST_CLASSES]))
    return Recalls(rows, any(row.dense.key for row in rows))


def _row(entry: Mapping[str, Any]) -> RecallRow:
    own, dense, gap = (Span.read(entry.get(key)) for key in ("recall", "dense", "difference"))
    rows = number(entry.get("rows"))
    return RecallRow(
        name=text(entry.get("name"), longest=80) or MISSING,
        rows=Value.of(rows, count(rows)),
        recall=Value.of(own.value, with_interval(own, "percent")),
        dense=Value.of(dense.value, figure(dense.value, "percent")),
        difference=Value.of(gap.value, with_interval(gap, "percent", signed=True)),
    )
