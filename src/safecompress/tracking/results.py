"""`Results`: how a job ended, as figures, tags and files, read off its document."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safecompress.report import markdown_summary, table_markdown

_UNSAFE = re.compile(r"[^\w\-. /]", re.ASCII)
"""Characters that a tracker refuses in the name of a figure."""
_WORDS = str.maketrans(
    {"≤": "max", "≥": "min", "−": "-", "+": "plus", "@": "-at-", ":": "", ",": ""}
)
"""By such a character in the names of checks, what stands for it."""
_OF_RUN = (
    *("verdict.json", "report.html", "junit.xml", "figures.json"),
    *("provenance.json", "config.yaml", "history.jsonl"),
)
_OF_TABLE = ("table.json", "table.md", "table.csv", "table.html")


@dataclass(frozen=True)
class Results:
    """How a job ended.

    Args:
        figures: finite figures by name; the ends of an interval are `NAME.low` and `NAME.high`.
        tags: the verdict and what describes it, as texts.
        text: the whole in Markdown.
        files: the files that belong to it, those that exist.
    """

    figures: Mapping[str, float]
    tags: Mapping[str, str]
    text: str
    files: Sequence[Path]


def verdict_results(document: Mapping[str, Any], folder: Path | None) -> Results:
    """Return the results of a run or an audit.

    Args:
        document: the JSON of its verdict.
        folder: folder of its files; None where nothing was written.
    """
    figures: dict[str, float] = {}
    for check in document["checks"]:
        figures |= _interval(f"verdict/{check['name']}", check)
    for row in document.get("comparison", ()):
        spans = {"accuracy": row["accuracy"]} | dict(row["attacks"])
        for name, span in spans.items():
            figures |= _interval(f"models/{row['name']}/{name}", span or {})
    for name, value in document.get("model", {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            figures |= finite({f"model/{name}": value})
    return Results(figures, _tags(document), markdown_summary(document), _files(folder, _OF_RUN))


def table_results(document: Mapping[str, Any], folder: Path | None) -> Results:
    """Return the results of a comparison.

    Args:
        document: the JSON of its table.
        folder: folder of its files; None where nothing was written.
    """
    figures: dict[str, float] = {}
    for row in document["rows"]:
        density = "" if row["density"] is None else f"/{row['density']:g}"
        place = f"table/{row['data']}{density}/{row['method']}"
        named = {k: row[k] for k in ("accuracy", "strongest", "value")} | dict(row["attacks"])
        for name, figure in named.items():
            value = figure.get("mean", figure.get("value"))
            figures |= _interval(f"{place}/{name}", {**figure, "value": value})
    return Results(figures, _tags(document), table_markdown(document), _files(folder, _OF_TABLE))


def _files(folder: Path | None, names: Sequence[str]) -> list[Path]:
    return [] if folder is None else [p for n in names if (p := folder / n).is_file()]


def _tags(document: Mapping[str, Any]) -> dict[str, str]:
    wanted = {
        "kind": document["kind"],
        "verdict": document.get("verdict"),
        "sentence": document.get("sentence"),
        "standard": document.get("standard"),
        "level": document.get("level"),
    }
    return {f"safecompress.{name}": str(value) for name, value in wanted.items() if value}


def _interval(name: str, span: Mapping[str, Any]) -> dict[str, float]:
    ends = {name: "value", f"{name}.low": "low", f"{name}.high": "high"}
    return finite({key: span.get(field) for key, field in ends.items()})


def finite(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that are numbers, by names that every tracker takes.

    Args:
        figures: by name; None and numbers that are not finite are left out.

    >>> finite({"control: planted": 0.5, "loss": float("nan")})
    {'control planted': 0.5}
    """
    return {
        _UNSAFE.sub("_", name.translate(_WORDS)): float(value)
        for name, value in figures.items()
        if value is not None and math.isfinite(value)
    }
