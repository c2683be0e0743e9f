"""`safecompress list`: every named part with its cost and reference, or one part in full."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from safecompress.attacks import ATTACKS
from safecompress.attacks.transfer import QUERY_ATTACKS, TRANSFER_ATTACKS
from safecompress.checks import MEASURES, OBJECTIVES
from safecompress.cli.part import needs_of, part_document, print_part, summary_document
from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.data import SOURCES
from safecompress.defenses import DEFENSES
from safecompress.display.console import print_json
from safecompress.errors import ConfigError, did_you_mean
from safecompress.export import FORMATS
from safecompress.models import MODELS
from safecompress.proposals import PROPOSALS
from safecompress.registry import Part, Registry, Survey
from safecompress.sparse import DROP_RULES, GROW_RULES

KINDS: dict[str, Registry[Any]] = {
    "models": MODELS,
    "first-masks": FIRST_MASKS,
    "proposals": PROPOSALS,
    "drop": DROP_RULES,
    "grow": GROW_RULES,
    "attacks": ATTACKS,
    "transfer": TRANSFER_ATTACKS,
    "queries": QUERY_ATTACKS,
    "defenses": DEFENSES,
    "objectives": OBJECTIVES,
    "measures": MEASURES,
    "sources": SOURCES,
    "formats": FORMATS,
}


_PIPE_WIDTH = 240


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
    name: Annotated[
        str | None, typer.Argument(help="One part of that kind, to be shown with its options.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """List models, proposals, attacks, defenses and every other kind of part, or show one of them.

    A part is shown with what it does and needs, its options, its cost, and the package it is from.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"list: no kind '{kind}'{did_you_mean(kind, KINDS)}")
    if kind is not None and name is not None:
        part = KINDS[kind].part(name, where=f"list {kind}")
        document = part_document(part, kind=kind, given=KINDS[kind].given)
        if as_json:
            print_json(document)
        else:
            print_part(document, _console())
        return
    surveys = {k: KINDS[k].survey() for k in (KINDS if kind is None else (kind,))}
    if as_json:
        print_json({k: _survey_document(survey, KINDS[k]) for k, survey in surveys.items()})
        return
    console = _console()
    for title, survey in surveys.items():
        console.print(_table(title, survey.parts.values(), KINDS[title]))
        for line in _notes(survey):
            console.print(line, style="yellow", highlight=False, markup=False)
        console.print()


def _console() -> Console:
    console = Console()
    # In a pipe, lines are kept wide enough that programs find every name on one line.
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _survey_document(survey: Survey[Any], registry: Registry[Any]) -> dict[str, Any]:
    return {
        "parts": [summary_document(p, given=registry.given) for p in survey.parts.values()],
        "broken": dict(survey.broken),
        "not_used": {name: list(packages) for name, packages in survey.hidden.items()},
    }


def _notes(survey: Survey[Any]) -> Iterator[str]:
    """Yield a line for each part that is broken, or hidden by a built-in part of its name."""
    for name, problem in survey.broken.items():
        yield f" {name}: broken; {problem}"
    for name, packages in survey.hidden.items():
        yield (
            f" {name}: {' and '.join(packages)} publishes a part of this name, too; the built-in "
            "one is used."
        )


def _table(title: str, parts: Collection[Part[Any]], registry: Registry[Any]) -> Table:
    """Return a kind's parts as a table; the column `needs` is left out where all are empty."""

    def needs(part: Part[Any]) -> str:
        return ", ".join(needs_of(part, given=registry.given))

    columns: dict[str, Callable[[Part[Any]], str]] = {
        "name": lambda part: part.name,
        "what": lambda part: part.summary,
        "needs": needs,
        "cost": lambda part: part.cost,
        "reference": lambda part: part.reference,
    }
    if not any(map(needs, parts)):
        del columns["needs"]
    table = Table(title=title, title_justify="left", box=None, title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for part in parts:
        table.add_row(*(text(part) for text in columns.values()))
    return table
