"""One part as `safecompress list` shows it: a line for tables, or all that is known of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from safecompress.registry import Part, options_of, text_of

_FLAGS = {
    "needs_reference": "reference rows",
    "needs_dense": "the dense model",
    "needs_source": "a model in hand",
    "needs_teachers": "teachers",
    "looks_at_members": "members",
}
"""What first masks, defenses and query attacks say they need, by attribute."""


def summary_document(part: Part[Any], *, given: Collection[str]) -> dict[str, Any]:
    """Return one part as JSON, as it stands in a list of them.

    Args:
        part: the part.
        given: arguments of its factory that the run passes itself.
    """
    return {
        "name": part.name,
        "summary": part.summary,
        "needs": needs_of(part, given=given),
        "cost": part.cost,
        "reference": part.reference,
        "package": part.package,
    }


def part_document(part: Part[Any], *, kind: str, given: Collection[str]) -> dict[str, Any]:
    """Return all that is known of one part as JSON.

    Args:
        part: the part.
        kind: its kind, as `safecompress list` calls it.
        given: arguments of its factory that the run passes itself.
    """
    options = [asdict(o) for o in options_of(part.factory, given=given)]
    return (
        {"kind": kind}
        | summary_document(part, given=given)
        | {"text": text_of(part.factory), "options": options}
    )


def needs_of(part: Part[Any], *, given: Collection[str]) -> list[str]:
    """Return what a part requires besides the outputs and the mask that all parts are given.

    Its class says so, or else the part that its factory makes of no options. A factory whose
    options cannot be left out says nothing, as the answer depends on them.

    Args:
        part: the part.
        given: arguments of its factory that the run passes itself.
    """
    one: Any = part.factory
    try:
        optional = not given and not any(o.required for o in options_of(one))
        if optional and not isinstance(getattr(one, "requires", None), frozenset):
            one = one()
        required = getattr(one, "requires", None)
        needed = sorted(map(str, required)) if isinstance(required, frozenset) else []
        # On a class that was not built, a property is no answer.
        return needed + [words for flag, words in _FLAGS.items() if getattr(one, flag, 0) is True]
    except (Exception, SystemExit):  # another package's part may do anything
        return []


def print_part(document: Mapping[str, Any], console: Console) -> None:
    """Print one part for a person.

    Args:
        document: what `part_document` returned.
        console: where to.
    """
    console.print(Text(f"{document['kind']}: {document['name']}", style="bold"))
    console.print(Text(f"{document['summary']}\n"))
    if document["text"]:
        console.print(Text(f"{document['text']}\n"))
    console.print(_options(document["options"]))
    console.print()
    facts = {
        "needs": ", ".join(document["needs"]),
        "cost": document["cost"],
        "reference": document["reference"],
        "package": document["package"],
    }
    width = max(map(len, facts))
    for name, value in facts.items():
        if value:
            console.print(Text(f"{name:<{width}}  {value}"))


def _options(options: Collection[Mapping[str, Any]]) -> Table | Text:
    if not options:
        return Text("It has no options.")
    table = Table(box=None, pad_edge=False)
    for column in ("option", "type", "default", "what"):
        table.add_column(column, overflow="fold")
    for option in options:
        default = "(must be given)" if option["required"] else repr(option["default"])
        cells = (option["name"], option["type"], default, option["description"])
        table.add_row(*map(Text, cells))
    return table
