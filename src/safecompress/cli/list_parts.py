"""`safecompress list`: every named part with its cost and reference, or one part in full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safecompress.cli.part import SUMMARY, print_part
from safecompress.cli.parts_file import Kind, kinds
from safecompress.display.console import print_json
from safecompress.errors import ConfigError, did_you_mean
from safecompress.registry import Survey
from safecompress.registry.published import catalogs

_KINDS = kinds()
_PIPE_WIDTH = 240


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(_KINDS)}.")] = None,
    name: Annotated[
        str | None, typer.Argument(help="One part of that kind, to be shown with its options.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """List models, proposals, attacks, defenses and every other kind of part, or show one of them.

    A part is shown with what it does and needs, its options, its cost, and the package it is from.
    """
    if kind is not None and kind not in _KINDS:
        raise ConfigError(f"list: no kind '{kind}'{did_you_mean(kind, _KINDS)}")
    if kind is not None and name is not None:
        part = _KINDS[kind].registry.part(name, where=f"list {kind}")
        document = _KINDS[kind].document(part)
        if as_json:
            print_json(document)
        else:
            print_part(document, _console())
        return
    registries = {k: _KINDS[k].registry for k in (_KINDS if kind is None else (kind,))}
    published = catalogs([registry.group for registry in registries.values()])
    surveys = {k: registry.survey(published[registry.group]) for k, registry in registries.items()}
    if as_json:
        print_json({k: _survey_document(survey, _KINDS[k]) for k, survey in surveys.items()})
        return
    console = _console()
    for title, survey in surveys.items():
        console.print(_table(title, map(_KINDS[title].document, survey.parts.values())))
        for line in _notes(survey):
            console.print(line, style="yellow", highlight=False, markup=False)
        console.print()


def _console() -> Console:
    console = Console()
    # In a pipe, lines are kept wide enough that programs find every name on one line.
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _survey_document(survey: Survey[Any], kind: Kind) -> dict[str, Any]:
    documents = map(kind.document, survey.parts.values())
    return {
        "parts": [{key: document[key] for key in SUMMARY} for document in documents],
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


def _table(title: str, parts: Iterable[Mapping[str, Any]]) -> Table:
    """Return a kind's parts as a table; the column `needs` is left out where all are empty."""
    documents = list(parts)
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "name": lambda part: part["name"],
        "what": lambda part: part["summary"],
        "needs": lambda part: ", ".join(part["needs"]),
        "cost": lambda part: part["cost"],
        "reference": lambda part: part["reference"],
    }
    if not any(document["needs"] for document in documents):
        del columns["needs"]
    table = Table(title=title, title_justify="left", box=None, title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for document in documents:
        # As texts, because a cell given as a str is searched for markup.
        table.add_row(*(Text(text(document)) for text in columns.values()))
    return table
