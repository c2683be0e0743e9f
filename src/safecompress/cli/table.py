"""`comparison_table`: the table of figures that a command prints before its verdict."""

from __future__ import annotations

from rich import box
from rich.table import Table

from safecompress.cli.console import QuietPipeConsole
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.parts import Span


def comparison_table(document: CompressVerdict | AuditVerdict) -> None:
    """Print the compared models side by side, with figures and intervals on the judged rows.

    Args:
        document: the document of the verdict.
    """
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
    QuietPipeConsole(highlight=False).print(table)


def _figure(span: Span | None) -> str:
    if span is None:
        return "-"
    return f"{_number(span.value)}\n[{_number(span.low)}, {_number(span.high)}]"


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
