"""`comparison`: the report's table of models side by side."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from safecompress.report.document_facts import limit_of
from safecompress.report.plots.forest import forest
from safecompress.report.plots.subjects import css_class, ordered
from safecompress.report.safe import mapping, mappings, number, text
from safecompress.report.wording import Span, Style, figure, interval, style_of

MOST_SUBJECTS, MOST_MEASURES = 8, 60
_METRIC = re.compile(r"(.+?)\.(auc|[a-z-]*balanced-accuracy|tpr@.+)")


@dataclass(frozen=True)
class Cell:
    """A figure and its interval."""

    figure: str
    interval: str


@dataclass(frozen=True)
class CompareRow:
    """One measure of all models: figures, then differences to the dense model."""

    label: str
    metric: str
    cells: tuple[Cell, ...]
    differences: tuple[Cell, ...]
    picture: Markup


@dataclass(frozen=True)
class Comparison:
    """The table of models: their names with the class of their mark, and the rows."""

    subjects: tuple[tuple[str, str], ...]
    compared: tuple[str, ...]
    rows: tuple[CompareRow, ...]


def measure_label(name: str) -> str:
    """Return a measure's name in words.

    Args:
        name: the name in verdict.json.

    >>> measure_label("loss.auc"), measure_label("neural.tpr@0.01")
    ('loss · AUC', 'neural · TPR at FPR 1.0%')
    """
    match = _METRIC.fullmatch(name)
    if match is None:
        return name
    attack, metric = match.groups()
    if metric == "auc":
        return f"{attack} · AUC"
    if metric.startswith("tpr@"):
        try:
            rate = figure(number(float(metric[4:])), "percent")
        except ValueError:
            rate = metric[4:]
        return f"{attack} · TPR at FPR {rate}"
    return f"{attack} · {metric.replace('-', ' ').replace('class balanced', 'per-class balanced')}"


def subjects_of(verdict: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the compared models by name, in the order in which they are shown.

    Args:
        verdict: the document of verdict.json.
    """
    entries = {text(e.get("name"), longest=40): e for e in mappings(verdict.get("comparison"))}
    return {name: entries[name] for name in ordered(entries)[:MOST_SUBJECTS]}


def comparison(verdict: Mapping[str, Any]) -> Comparison:
    """Return the table of models.

    Args:
        verdict: the document of verdict.json.
    """
    entries = subjects_of(verdict)
    compared = tuple(n for n, e in entries.items() if mapping(e.get("difference_to_dense")))
    names = dict.fromkeys(
        str(measure) for e in entries.values() for measure in mapping(e.get("attacks"))
    )
    spans: dict[str, dict[str, Span]] = {
        measure: {n: Span.read(_entry(e).get(measure)) for n, e in entries.items()}
        for measure in ["density", "accuracy", *list(names)[:MOST_MEASURES]]
    }
    limits = {measure: limit_of(verdict, measure) for measure in spans}
    shared = _domain(
        [s for m, row in spans.items() if style_of(m) == "auc" for s in row.values()],
        [limits[m] for m in spans if style_of(m) == "auc"],
    )
    rows = []
    for index, (measure, row) in enumerate(spans.items()):
        style = style_of(measure)
        limit = limits[measure]
        domain = shared if style == "auc" else _domain(row.values(), [limit], chance=False)
        picture = Markup()
        if measure != "density" and domain is not None:
            picture = forest(
                row, style=style, domain=domain, identity=f"compare-{index + 1}", limit=limit
            )
        label, _, metric = measure_label(text(measure, longest=120)).partition(" · ")
        gaps = [
            Span.read(mapping(entries[n].get("difference_to_dense")).get(measure)) for n in compared
        ]
        rows.append(
            CompareRow(
                label=label,
                metric=metric,
                cells=tuple(_cell(span, style) for span in row.values()),
                differences=tuple(_cell(span, style, signed=True) for span in gaps),
                picture=picture,
            )
        )
    subjects = tuple((name, css_class(name)) for name in entries)
    return Comparison(subjects, compared, tuple(rows) if entries else ())


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    figures = {"density": entry.get("density"), "accuracy": entry.get("accuracy")}
    return {str(k): v for k, v in mapping(entry.get("attacks")).items()} | figures


def _cell(span: Span, style: Style, *, signed: bool = False) -> Cell:
    return Cell(figure(span.value, style, signed=signed), interval(span, style, signed=signed))


def _domain(
    spans: Iterable[Span], limits: Iterable[float | None], *, chance: bool = True
) -> tuple[float, float] | None:
    known = [x for span in spans for x in span.known]
    if not known:
        return None
    known += [limit for limit in limits if limit is not None]
    if chance:
        known.append(0.5)
    low, high = min(known), max(known)
    pad = 0.08 * (high - low) or 0.01
    # The padding of values near the largest float must not overflow to infinity.
    return max(low - pad, -sys.float_info.max), min(high + pad, sys.float_info.max)
