"""`safecompress list`: every named part with its cost and reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from safecompress.attacks import ATTACKS
from safecompress.attacks.transfer import QUERY_ATTACKS, TRANSFER_ATTACKS
from safecompress.checks import MEASURES, OBJECTIVES
from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError, did_you_mean
from safecompress.models import MODELS
from safecompress.proposals import PROPOSALS
from safecompress.registry import Part, Registry, Survey
from safecompress.sparse import DROP_RULES, GROW_RULES

KINDS: dict[str, Registry[Any]] = {
    "models": MODELS,
    "proposals": PROPOSALS,
    "drop": DROP_RULES,
    "grow": GROW_RULES,
    "attacks": ATTACKS,
    "transfer": TRANSFER_ATTACKS,
    "queries": QUERY_ATTACKS,
    "defenses": DEFENSES,
    "objectives": OBJECTIVES,
    "measures": MEASURES,
}


_PIPE_WIDTH = 240


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
) -> None:
    """List models, proposals, attacks, defenses, objectives and measures."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"list: no kind '{kind}'{did_you_mean(kind, KINDS)}")
    console = Console()
    if not console.is_terminal:
        # A pipe has no edge to fold at; what reads it should find every name on one line.
        console = Console(width=_PIPE_WIDTH)
    for name in KINDS if kind is None else (kind,):
        survey = KINDS[name].survey()
        console.print(_table(name, survey.parts.values()))
        for line in _notes(survey):
            console.print(line, style="yellow", highlight=False, markup=False)
        console.print()


def _notes(survey: Survey[Any]) -> Iterator[str]:
    """Yield what a reader of the table must know about parts that are not in it."""
    for name, problem in survey.broken.items():
        yield f" {name}: broken; {problem}"
    for name, packages in survey.hidden.items():
        yield (
            f" {name}: {' and '.join(packages)} publishes a part of this name, too; the built-in "
            "one is used."
        )


def _table(title: str, parts: Collection[Part[Any]]) -> Table:
    """Return a kind's parts as a table; what they need has a column where one needs something."""
    columns: dict[str, Callable[[Part[Any]], str]] = {
        "name": lambda part: part.name,
        "what": lambda part: part.summary,
        "needs": _needs,
        "cost": lambda part: part.cost,
        "reference": lambda part: part.reference,
    }
    if not any(map(_needs, parts)):
        del columns["needs"]
    table = Table(title=title, title_justify="left", box=None, title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for part in parts:
        table.add_row(*(text(part) for text in columns.values()))
    return table


def _needs(part: Part[Any]) -> str:
    """Return what the part's class says it requires; a factory function says nothing."""
    needed = getattr(part.factory, "requires", None)
    return ", ".join(sorted(needed)) if isinstance(needed, frozenset) else ""
