"""How `safecompress list` shows one part: as a row of a table, as JSON, or in full."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from safecompress.registry import BUILT_IN, Part, options_of, text_of

_FLAGS = {
    "needs_reference": "reference rows",
    "needs_dense": "the dense model",
    "needs_source": "a model in hand",
    "needs_teachers": "teachers",
    "needs_soft_labels": "teachers' labels",
    "looks_at_members": "members",
}
"""Needs of first masks, defenses and query attacks in words, by the attribute that says so."""
SUMMARY = ("name", "summary", "needs", "cost", "reference", "package")
"""What a list of parts says of each."""


def part_request(text: str, *, option: str) -> str | Mapping[str, Any]:
    """Return the part that an option of the command line asks for, as a configuration would.

    Args:
        text: a name, or YAML of a name with its options, `{NAME: {option: value}}`.
        option: the option, for messages.

    Raises:
        ConfigError: when the YAML cannot be read.
    """
    if not text.lstrip().startswith("{"):
        return text
    from safecompress.config import parse_yaml

    return parse_yaml(text, where=option)


def part_document(part: Part[Any], *, kind: str, given: Collection[str]) -> dict[str, Any]:
    """Return all that is known of one part as JSON.

    Args:
        part: the part.
        kind: its kind, as `safecompress list` calls it.
        given: names of its factory's arguments that the run passes, which are no options.
    """
    options = [asdict(o) for o in options_of(part.factory, given=given)]
    return {
        "kind": kind,
        "name": part.name,
        "summary": part.summary,
        "needs": needs_of(part, given=given),
        "cost": part.cost,
        "reference": part.reference,
        "package": part.package,
        "text": text_of(part.factory),
        "options": options,
    }


def needs_of(part: Part[Any], *, given: Collection[str]) -> list[str]:
    """Return what a part requires besides the outputs and the mask that all parts are given.

    Attributes of its class say so, or of the instance that its factory builds without options. The
    needs of a factory with mandatory options are unknown, because they may depend on the options.

    Args:
        part: the part.
        given: names of its factory's arguments that the run passes, which are no options.

    Returns:
        The needs in words; empty where there are none or they are unknown.
    """
    instance: Any = part.factory
    try:
        optional = not given and not any(o.required for o in options_of(instance))
        if optional and not isinstance(getattr(instance, "requires", None), frozenset):
            instance = instance()
        required = getattr(instance, "requires", None)
        needs = sorted(map(str, required)) if isinstance(required, frozenset) else []
        # On a class, a property is an object and not its value: only True counts.
        return needs + [
            words for flag, words in _FLAGS.items() if getattr(instance, flag, 0) is True
        ]
    except (Exception, SystemExit):  # another package's part may do anything
        return []


def print_part(document: Mapping[str, Any], console: Console) -> None:
    """Print one part for a person.

    Args:
        document: what `part_document` returned.
        console: the console to print to.
    """
    console.print(Text(f"{document['kind']}: {document['name']}", style="bold"))
    console.print(Text(f"{document['summary']}\n"))
    # The summary of a published part is the first line of its text.
    if text := document["text"].removeprefix(document["summary"]).strip():
        console.print(Text(f"{text}\n"))
    console.print(_options(document["options"]))
    console.print()
    facts = {
        "needs": ", ".join(document["needs"]),
        "cost": document["cost"],
        "reference" if document["package"] == BUILT_IN else "entry point": document["reference"],
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
