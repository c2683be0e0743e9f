"""`set_view`: files that are published together, alone and as one attacker holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.report.safe import mapping, mappings, number, sequence, text
from safecompress.report.view_verdict import Badge
from safecompress.report.wording import MISSING, Span, Value, count, figure, interval

MOST_FILES, MOST_PAIRS, _MOST_ROWS = 30, 70, 100
AUDITS = ("audit", "joint")
"""Kinds of documents of models that were not searched for here."""


@dataclass(frozen=True)
class HeldRow:
    """What an attacker finds with one file or several; of several, badge and accuracy are empty."""

    name: str
    badge: Badge | None
    attack: str
    auc: Value
    interval: str
    exposed: str
    accuracy: str


@dataclass(frozen=True)
class SetView:
    """The set: its files, the pair that was chosen with the whole set, and the other pairs.

    `exposed` is a sentence on the members that only the set exposes, and `rows` are their numbers.
    """

    files: tuple[HeldRow, ...]
    together: tuple[HeldRow, ...]
    pairs: tuple[HeldRow, ...]
    exposed: str
    rows: str
    dense: str


def set_view(verdict: Mapping[str, Any]) -> SetView | None:
    """Return the set; None where a single model was judged.

    Args:
        verdict: the document of verdict.json.
    """
    if verdict.get("kind") != "joint":
        return None
    best, family = mapping(verdict.get("best_pair")), mapping(verdict.get("family"))
    several = [held for held in (best, family) if held]
    if len(several) == 2 and best.get("files") == family.get("files"):
        several = [family]
    others = [p for p in mappings(verdict.get("pairs"))[:MOST_PAIRS] if p not in several]
    new = mapping(verdict.get("newly_exposed_by_set"))
    return SetView(
        files=tuple(map(_file, mappings(verdict.get("files"))[:MOST_FILES])),
        together=tuple(map(_held, several)),
        pairs=tuple(map(_held, others)),
        exposed=_exposed(new),
        rows=_rows(new),
        dense=text(verdict.get("dense"), longest=40),
    )


def set_lines(verdict: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return by line who holds what, the strongest attack, and its AUC in words.

    Args:
        verdict: the document of verdict.json; of any other kind than `joint` gives no lines.
    """
    view = set_view(verdict)
    if view is None:
        return []
    rows = (*view.files, *view.together)
    return [(row.name, row.attack, f"{row.auc.shown} {row.interval}".strip()) for row in rows]


def _file(entry: Mapping[str, Any]) -> HeldRow:
    exposed = number(entry.get("exposed"))
    return _row(
        text(entry.get("name"), longest=120) or MISSING,
        entry,
        badge=Badge.of(entry.get("verdict")),
        exposed=MISSING if exposed is None else count(exposed),
        accuracy=figure(number(entry.get("accuracy")), "percent"),
    )


def _held(entry: Mapping[str, Any]) -> HeldRow:
    names = [text(name, longest=120) for name in sequence(entry.get("files"))[:MOST_FILES]]
    shown = " + ".join(names) if len(names) < 5 else f"all {len(names)} files"
    return _row(shown or MISSING, entry, badge=None, exposed="", accuracy="")


def _row(
    name: str, entry: Mapping[str, Any], *, badge: Badge | None, exposed: str, accuracy: str
) -> HeldRow:
    span = Span.read(mapping(entry.get("auc")))
    return HeldRow(
        name=name,
        badge=badge,
        attack=text(entry.get("attack"), longest=80) or MISSING,
        auc=Value.of(span.value, figure(span.value, "auc")),
        interval=interval(span, "auc"),
        exposed=exposed,
        accuracy=accuracy,
    )


def _exposed(new: Mapping[str, Any]) -> str:
    """Return how many members the set exposes and no file does; empty where it is not known."""
    members, rate = number(new.get("members")), number(new.get("rate"))
    if members is None or rate is None:
        return ""
    allowed = figure(number(new.get("false_positive_rate")), "percent")
    return (
        f"{len(sequence(new.get('rows'))):,} of {count(members)} members "
        f"({figure(rate, 'percent')}) are exposed by several files together and by no file alone, "
        f"where {allowed} of the non-members are taken for members; chance alone reaches about "
        f"{allowed}."
    )


def _rows(new: Mapping[str, Any]) -> str:
    """Return the numbers of these members; thousands are not separated, as in other lists."""
    numbers = [number(row) for row in sequence(new.get("rows"))]
    shown = [MISSING if row is None else f"{row:.0f}" for row in numbers[:_MOST_ROWS]]
    more = f" and {len(numbers) - _MOST_ROWS} more" if len(numbers) > _MOST_ROWS else ""
    return ", ".join(shown) + more
