"""`comparison_table`: the table of figures that a command prints before its verdict."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.joint_document import HeldTogether, JointVerdict
from safecompress.verdicts.joint_words import names_of
from safecompress.verdicts.parts import Span


def comparison_table(document: CompressVerdict | AuditVerdict | JointVerdict) -> None:
    """Print the compared models side by side, with figures and intervals on the judged rows.

    Args:
        document: the document of the verdict.
    """
    if isinstance(document, JointVerdict):
        _set_table(document)
        return
    models = document.comparison
    rows = "sealed" if isinstance(document, CompressVerdict) else "recorded"
    table = Table(
        title=f"On the {rows} rows, with intervals at level {document.level:.4g}",
        title_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("", no_wrap=True)
    for model in models:
        table.add_column(model.name, justify="right", no_wrap=True)
    if any(m.density is not None for m in models):
        table.add_row("density", *(_number(m.density, ".3g") for m in models))
    table.add_row("accuracy", *(_figure(m.accuracy) for m in models))
    for name in dict.fromkeys(name for m in models for name in m.attacks):
        attack, _, metric = name.partition(".")
        figures = (_figure(m.attacks.get(name)) for m in models)
        table.add_row(f"{attack}\n  {metric}", *figures)
    Console(highlight=False).print(table)


def _set_table(document: JointVerdict) -> None:
    """Print every file by itself, then the pair that was chosen and the whole set."""
    table = Table(
        title=f"Files that are published together, with intervals at level {document.level:.4g}",
        title_justify="left",
        box=box.SIMPLE,
    )
    for heading in ("held by the attacker", "strongest attack", "its AUC", "exposed", "accuracy"):
        table.add_column(heading)
    for file in document.files:
        exposed = "-" if file.exposed is None else f"{file.exposed:,}"
        accuracy = _number(file.accuracy)
        table.add_row(file.name, file.attack or "-", _figure(file.auc), exposed, accuracy)
    new = document.newly_exposed_by_set
    held: list[HeldTogether] = [document.family]
    if document.best_pair is not None and len(document.files) > 2:
        held.insert(0, document.best_pair)
    for several in held:
        mine = new is not None and new.files == several.files
        exposed = f"{len(new.rows):,} more" if mine and new is not None else "-"
        name = names_of(several.files)
        table.add_row(name, several.attack or "-", _figure(several.auc), exposed, "")
    Console(highlight=False).print(table)


def _figure(span: Span | None) -> str:
    if span is None:
        return "-"
    return f"{_number(span.value)}\n[{_number(span.low)}, {_number(span.high)}]"


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
