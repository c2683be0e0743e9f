"""`table_markdown`, `table_csv` and `table_html`: a comparison as Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from safecompress.report.markdown import table_cell
from safecompress.report.page import page
from safecompress.report.plots.front import Point, front
from safecompress.report.safe import mapping, mappings, number, text
from safecompress.report.wording import MISSING, Span, Style, figure, interval

_MOST_ROWS, _MOST_ATTACKS = 400, 40
_MEAN = "mean accuracy × (1 − AUC)"
_SEVERAL = (
    " Where the tests chose several paths for the models of a cohort, these tell less of each "
    "other than shadow models along the same path would: its AUC is understated."
)


def table_markdown(document: Mapping[str, Any]) -> str:
    """Return a comparison as Markdown: one table for each group of rows.

    Args:
        document: the contents of a comparison's `table.json`.
    """
    lines = [_explanation(document), ""]
    for title, rows in _groups(document):
        compared = any(row.get("against") for row in rows)
        head = ["method", "accuracy", "strongest attack", "its AUC", "accuracy × (1 − AUC)"]
        head += [f"{_reference(document)} minus this", "p"] if compared else []
        lines += [f"**{title}**", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in rows:
            strongest = mapping(row.get("strongest"))
            cells = [
                ("● " if row.get("pareto") else "") + table_cell(_method(row)),
                _words(row.get("accuracy"), "percent"),
                table_cell(strongest.get("attack")),
                _words(strongest, "auc"),
                _words(row.get("value"), "auc"),
            ]
            if compared:
                against = mapping(row.get("against"))
                p = number(against.get("p_corrected"))
                cells += [
                    _words(against, "auc", signed=True),
                    "" if p is None else f"{p:.2g}",
                ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for title, means in _means(document):
        lines += [f"**{title}**", "", f"| method | {_MEAN} |", "|---|---|"]
        lines += [f"| {table_cell(m.get('method'))} | {_words(m, 'auc')} |" for m in means]
        lines.append("")
    return "\n".join(lines)


def table_csv(document: Mapping[str, Any]) -> str:
    """Return a comparison as CSV: a line for each row, with columns for every attack's AUC.

    Args:
        document: the contents of a comparison's `table.json`.
    """
    rows = mappings(document.get("rows"))
    attacks = _attacks(rows)
    plain = ["data", "density", "method", "models", "pareto", "seconds"]
    figures = ["accuracy", "strongest", "value"]
    head = [*plain, "strongest_attack"]
    for name in [*figures, *(f"auc.{attack}" for attack in attacks)]:
        head += [name, f"{name}.low", f"{name}.high"]
    output = io.StringIO()
    table = csv.writer(output, lineterminator="\n")
    table.writerow([_plain_cell(name) for name in head])
    for row in rows:
        spans = [_span(row.get(name)) for name in figures]
        spans += [_span(mapping(row.get("attacks")).get(attack)) for attack in attacks]
        numbers = [x for span in spans for x in (span.value, span.low, span.high)]
        named = [row.get(key) for key in plain] + [mapping(row.get("strongest")).get("attack")]
        cells = [_plain_cell(value) for value in named]
        table.writerow([*cells, *("" if x is None else repr(x) for x in numbers)])
    return output.getvalue()


def _plain_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe begins text there."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


@dataclass(frozen=True)
class _Cell:
    figure: str
    interval: str
    key: str


@dataclass(frozen=True)
class _Line:
    method: str
    says: str
    best: bool
    strongest: str
    cells: tuple[_Cell, ...]


@dataclass(frozen=True)
class _Group:
    title: str
    picture: Markup
    columns: tuple[str, ...]
    lines: tuple[_Line, ...]


@dataclass(frozen=True)
class _Means:
    title: str
    lines: tuple[tuple[str, _Cell], ...]


def table_html(document: Mapping[str, Any], *, name: str) -> str:
    """Return a comparison as one self-contained page.

    Args:
        document: the contents of a comparison's `table.json`.
        name: name of the comparison.
    """
    groups = []
    for index, (title, rows) in enumerate(_groups(document)):
        attacks = _attacks(rows)
        points = [
            Point(
                text(row.get("method"), longest=60),
                _span(row.get("strongest")),
                _span(row.get("accuracy")),
                bool(row.get("pareto")),
                "s-compressed" if row.get("method") == document.get("reference") else "s-dense",
            )
            for row in rows
        ]
        lines = tuple(
            _Line(
                text(_method(row), longest=80),
                text(row.get("says"), longest=200),
                bool(row.get("pareto")),
                text(mapping(row.get("strongest")).get("attack"), longest=60),
                (
                    _cell(row.get("accuracy"), "percent"),
                    _cell(row.get("strongest"), "auc"),
                    _cell(row.get("value"), "auc"),
                    _cell(row.get("against"), "auc", signed=True),
                    *(_cell(mapping(row.get("attacks")).get(a), "auc") for a in attacks),
                ),
            )
            for row in rows
        )
        compared = f"{_reference(document)} minus this"
        columns = ("accuracy", "its AUC", "accuracy × (1 − AUC)", compared, *attacks)
        groups.append(_Group(title, front(points, identity=f"front-{index + 1}"), columns, lines))
    means = tuple(
        _Means(
            title,
            tuple((text(row.get("method"), longest=60), _cell(row, "auc")) for row in rows),
        )
        for title, rows in _means(document)
    )
    return page(
        "table.html.j2",
        name=text(name, longest=120),
        explained=_explanation(document),
        notes=[text(note, longest=400) for note in document.get("notes") or []],
        groups=groups,
        beyond=max(0, len(mappings(document.get("rows"))) - _MOST_ROWS),
        mean=_MEAN,
        means=means,
    )


def _explanation(document: Mapping[str, Any]) -> str:
    if document.get("kind") == "runs":
        return (
            "Each row is one model, judged on its run's sealed rows; intervals are those of the "
            "rows. Models under one heading were judged on the same rows."
        )
    several = any(_paths(row) > 1 for row in mappings(document.get("rows")))
    return (
        "Each row is a cohort: means over its models, each once the target, with 95 % intervals "
        "of the mean. The strongest attack is the one with the largest mean AUC. ● is not beaten "
        "in both accuracy and AUC by any other of its table. p: paired t-test over targets, "
        "Holm-corrected." + (_SEVERAL if several else "")
    )


def _groups(document: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in mappings(document.get("rows"))[:_MOST_ROWS]:
        title = text(row.get("data"), longest=80)
        if document.get("kind") != "runs":
            density = number(row.get("density"))
            title += "" if density is None else f", density {density:g}"
            title += f", {row.get('models')} models"
        groups.setdefault(title, []).append(row)
    return list(groups.items())


def _method(row: Mapping[str, Any]) -> str:
    paths = _paths(row)
    return f"{row.get('method')}" + (f" ({paths:g} paths)" if paths > 1 else "")


def _paths(row: Mapping[str, Any]) -> float:
    return number(row.get("paths")) or 0


def _means(document: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the means over data sets by density, where there are several sets."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in mappings(document.get("hypervolume"))[:_MOST_ROWS]:
        density, sets = number(row.get("density")), number(row.get("sets"))
        if density is not None and sets is not None and sets > 1:
            title = f"Mean over {sets:g} data sets, density {density:g}"
            groups.setdefault(title, []).append(row)
    return list(groups.items())


def _attacks(rows: object) -> list[str]:
    names = dict.fromkeys(str(n) for row in mappings(rows) for n in mapping(row.get("attacks")))
    return list(names)[:_MOST_ATTACKS]


def _reference(document: Mapping[str, Any]) -> str:
    return table_cell(document.get("reference")) or "reference"


def _span(value: object) -> Span:
    fields = mapping(value)
    mean = fields.get("mean") if "mean" in fields else fields.get("value")
    return Span(number(mean), number(fields.get("low")), number(fields.get("high")))


def _words(value: object, style: Style, *, signed: bool = False) -> str:
    span = _span(value)
    if span.value is None:
        return MISSING
    return f"{figure(span.value, style, signed=signed)} {interval(span, style, signed=signed)}"


def _cell(value: object, style: Style, *, signed: bool = False) -> _Cell:
    span = _span(value)
    key = "" if span.value is None else repr(span.value)
    return _Cell(
        figure(span.value, style, signed=signed), interval(span, style, signed=signed), key
    )
