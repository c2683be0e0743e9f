"""`MeasuredFigure` and `figures_of`: every figure of a verdict with the rows that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.report.document_facts import checks_of
from safecompress.report.safe import mapping, mappings, number, text
from safecompress.report.wording import Span

_CONDITION = re.compile(r"\s*[≤≥].*$")
_DENSE = re.compile(r"\bdense\b")


@dataclass(frozen=True)
class MeasuredFigure:
    """A figure of a model.

    Args:
        name: what was measured, such as `loss.auc` or `accuracy minus the dense model's`.
        rows: the rows it is about, in words; empty where it needs none.
        span: the figure and its interval, whose ends may be missing.
        attack: name of the attack that was measured; empty where there is none.
    """

    name: str
    rows: str
    span: Span
    attack: str = ""


def figures_of(document: Mapping[str, Any]) -> tuple[MeasuredFigure, ...]:
    """Return the figures of a verdict: of the model, of its checks, of its classes and groups.

    Controls are left out, because their figures are about the tests and not about the model. A
    figure that two checks share is returned once. Of the table of models only those figures are
    taken that no check has: a check says how many rows its figure rests on, and turns round a
    ranking that points the wrong way.

    Args:
        document: the verdict on a run or an audited model, or the document of an exported file.
    """
    found: dict[tuple[str, str], MeasuredFigure] = {}
    for figure in (*_of_checks(document), *_of_groups(document)):
        if figure.name and figure.span.value is not None:
            found.setdefault((figure.name, figure.rows), figure)
    checked = {name for name, _ in found}
    shown = [f for f in _of_the_model(document) if f.span.value is not None]
    return (*(f for f in shown if f.name and f.name not in checked), *found.values())


def strongest_attack(document: Mapping[str, Any]) -> MeasuredFigure | None:
    """Return the attack whose AUC over all rows lies farthest from .5; None where none is known.

    Args:
        document: the verdict on a run or an audited model, or the document of an exported file.
    """
    aucs = [f for f in figures_of(document) if f.attack and f.name == f"{f.attack}.auc"]
    return max(aucs, key=lambda f: abs((f.span.value or 0.5) - 0.5), default=None)


def _of_checks(document: Mapping[str, Any]) -> Iterator[MeasuredFigure]:
    for check in checks_of(document):
        name = text(check.get("name"))
        if not name.startswith("control: "):
            yield _of_a_check(check, name)


def _of_the_model(document: Mapping[str, Any]) -> Iterator[MeasuredFigure]:
    judged = document.get("judged")
    for row in mappings(document.get("comparison")):
        if row.get("name") != judged:
            continue
        yield MeasuredFigure("accuracy", "judged non-members", Span.read(row.get("accuracy")))
        for name, span in mapping(row.get("attacks")).items():
            attack = text(name).rpartition(".")[0]
            yield MeasuredFigure(text(name), "judged rows", Span.read(span), attack)
    retest = mapping(document.get("retest"))
    yield MeasuredFigure("accuracy", "judged non-members", Span.read(retest.get("accuracy")))


def _of_a_check(check: Mapping[str, Any], name: str) -> MeasuredFigure:
    measured = _CONDITION.sub("", name)
    if measured.endswith(" as before"):
        measured = f"{measured.removesuffix(' as before')} minus the model's before export"
    elif _DENSE.search(text(check.get("condition"))):
        measured += " minus the dense model's"
    rows = _rows(check.get("n_members"), check.get("n_nonmembers"))
    return MeasuredFigure(measured, rows, Span.read(check), text(check.get("attack")))


def _of_groups(document: Mapping[str, Any]) -> Iterator[MeasuredFigure]:
    for each in mappings(document.get("by_class")):
        rows = f"class {text(each.get('name'))}"
        yield MeasuredFigure("recall", rows, Span.read(each.get("recall")))
    leak = mapping(document.get("leak"))
    strongest = text(leak.get("attack"))
    groups = [("class", each) for each in mappings(leak.get("classes"))]
    groups += [(text(each.get("by")), each) for each in mappings(leak.get("groups"))]
    for by, each in groups:
        attack = text(each.get("attack")) or strongest
        span = Span(*(number(each.get(key)) for key in ("auc", "low", "high")))
        yield MeasuredFigure(f"{attack}.auc", f"{by} {text(each.get('name'))}", span, attack)


def _rows(members: object, nonmembers: object) -> str:
    of_members, of_others = int(number(members) or 0), int(number(nonmembers) or 0)
    parts = [f"{of_members} members"] if of_members else []
    parts += [f"{of_others} non-members"] if of_others else []
    return ", ".join(parts)
