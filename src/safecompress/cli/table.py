"""The table a run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from safecompress.cli.console import QuietPipeConsole


def comparison_table(document: Mapping[str, Any]) -> None:
    """Print dense, baselines and compressed model with sealed figures and intervals.

    Args:
        document: as in `verdict.json`.
    """
    models = document["comparison"]
    rows = "sealed" if document["kind"] == "compress" else "recorded"
    table = Table(
        title=f"On the {rows} rows, with {document['level']:.4g} intervals",
        title_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("", no_wrap=True)
    for model in models:
        table.add_column(model["name"], justify="right", no_wrap=True)
    if any(m["density"] is not None for m in models):
        table.add_row("density", *(f"{m['density']:.3g}" for m in models))
    table.add_row("accuracy", *(_figure(m["accuracy"]) for m in models))
    for name in dict.fromkeys(name for m in models for name in m["attacks"]):
        attack, _, metric = name.partition(".")
        figures = (_figure(m["attacks"].get(name)) for m in models)
        table.add_row(f"{attack}\n  {metric}", *figures)
    QuietPipeConsole(highlight=False).print(table)


def _figure(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['value']:.3f}\n[{figure['low']:.3f}, {figure['high']:.3f}]"
