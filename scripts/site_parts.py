"""Pages of the site on attacks, defenses, proposals and all other parts, from their registries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from benchmarks.blind_spots_table import MOST, blind, by_kind
from benchmarks.cells import Cell, Cells, read_lines

from safecompress.cli.kinds import KINDS
from safecompress.cli.part import part_document

TITLES = {
    "attacks": "Membership attacks",
    "transfer": "Transfer attacks",
    "queries": "Query attacks",
    "defenses": "Defenses",
    "proposals": "Proposals",
    "first-masks": "First masks",
    "drop": "Drop rules",
    "grow": "Grow rules",
    "objectives": "Objectives",
    "measures": "Measures",
    "models": "Model families",
    "sources": "Data sources",
    "formats": "Export formats",
}
"""Every kind of part, as `safecompress list` calls it, with the title of its page."""


def part_pages() -> Iterator[tuple[str, str]]:
    """Yield the place of each page without its ending, and its Markdown."""
    for kind, title in TITLES.items():
        registry, folder = KINDS[kind], f"reference/{kind}"
        parts = [part_document(p, kind=kind, given=registry.given) for p in registry.parts.values()]
        rows = [(f"[`{p['name']}`]({p['name']}.md)", p["summary"], p["reference"]) for p in parts]
        lines = [f"# {title}", "", f"These are what `safecompress list {kind}` shows.", ""]
        lines += table(("name", "what it does", "source"), rows)
        yield (
            f"{folder}/index",
            "\n".join(lines),
        )
        for part in parts:
            yield f"{folder}/{part['name']}", _part_page(part)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    r"""Return the lines of a table in Markdown.

    Args:
        head: titles of the columns.
        rows: Markdown of the cells.

    >>> table(("a", "b"), [("1|2", "x\ny")])
    ['| a | b |', '|---|---|', '| 1\\|2 | x y |']
    """
    cells = (" | ".join(" ".join(c.split()).replace("|", "\\|") for c in row) for row in rows)
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {row} |" for row in cells)]


def _part_page(part: Mapping[str, Any]) -> str:
    summary, text = part["summary"], part["text"]
    # Over a hundred parts would bury all else in the navigation; the index of their kind has them.
    lines = ["---", "orphan: true", "---", "", f"# `{part['name']}`", "", _sentence(summary), ""]
    if text := text.removeprefix(summary).strip():
        lines += [_markdown(text), ""]
    options = [
        (f"`{o['name']}`", f"`{o['type']}`", _default(o), o["description"]) for o in part["options"]
    ]
    head = ("option", "type", "default", "meaning and range")
    lines += ["## Options", "", *(table(head, options) if options else ["It has no options."])]
    facts = {
        "needs": ", ".join(part["needs"]) or "–",
        "cost": part["cost"] or "–",
        "source": part["reference"] or "–",
        "on the command line": f"`safecompress list {part['kind']} {part['name']}`",
    }
    lines += ["", "## Facts", "", *table(("", ""), facts.items())]
    return "\n".join([*lines, *_blind_spots(part)]) + "\n"


def _sentence(summary: str) -> str:
    return summary[:1].upper() + summary[1:].removesuffix(".") + "."


def _default(option: Mapping[str, Any]) -> str:
    return "must be given" if option["required"] else f"`{option['default']!r}`"


def _markdown(text: str) -> str:
    """Return a docstring without its Args as Markdown: examples fenced, sections in bold."""
    paragraphs = text.split("\n\n")
    fenced = (f"```pycon\n{p}\n```" if p.lstrip().startswith(">>>") else p for p in paragraphs)
    titled = (re.sub(r"\A(Raises|Returns|Yields|Example):\s*", r"**\1:** ", p) for p in fenced)
    return "\n\n".join(re.sub(r"\n +", "\n", p) if "```" not in p else p for p in titled)


def _blind_spots(part: Mapping[str, Any]) -> list[str]:
    """Return what is measured of an attack's or a defense's blind spots, as lines of Markdown."""
    link = "(../../docs/attacks.md#who-is-blind-to-which-defense)"
    if part["kind"] == "attacks":
        rows = [row for key in _cells() for row in _found_by(part["name"], key)]
        about = f"Mean AUC of this attack and of the strongest one on one model: [protocol]{link}."
        head = ("data", "defense", "this attack", "the strongest", "")
    else:
        rows = [_found_in(key) for key in _cells() if _split(key)[1] == part["name"]]
        about = f"What finds most, and which kinds of attack find over .03 less: [protocol]{link}."
        head = ("data", "found by", "AUC", "blind kinds")
    return ["", "## Blind spots", "", about, "", *table(head, rows)] if rows else []


@cache
def _cells() -> Mapping[str, Cell]:
    return read_lines(Cells.of("blind_spots").committed)


def _split(key: str) -> tuple[str, str]:
    """Return the data set and the method of a cell, whose key also has the density."""
    data, _, method = key.split("-", 2)
    return data, method


def _found_in(key: str) -> tuple[str, ...]:
    cell = _cells()[key]
    kind, (attack, aucs) = next(iter(by_kind(cell).items()))
    kinds = ", ".join(blind(cell)) or "none"
    return _split(key)[0], f"`{attack}` ({kind})", _auc(aucs.mean()), kinds


def _found_by(attack: str, key: str) -> Iterator[tuple[str, ...]]:
    cell = _cells()[key]
    aucs = [t["attacks"][attack]["auc"] for t in cell["targets"] if attack in t["attacks"]]
    if aucs:
        most = next(iter(by_kind(cell).values()))[1].mean()
        mean = sum(aucs) / len(aucs)
        yield *_split(key), _auc(mean), _auc(most), "blind" if most - mean > MOST else ""


def _auc(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
