"""`exposures` and `leak`: exposed members, leaking classes and accusations in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.report.safe import mapping, mappings, number, sequence, text
from safecompress.report.view_verdict import Badge
from safecompress.report.wording import MISSING, Value, count, figure

MOST_EXPOSED, MOST_ATTACKS, MOST_CLASSES = 100, 10, 100


@dataclass(frozen=True)
class ExposedRow:
    """A member that an attack is sure of; `rate` is the share of non-members that score as high."""

    row: Value
    score: Value
    rate: Value


@dataclass(frozen=True)
class NewlyExposedRow:
    """The members that an attack gives away on this model and another did not on the dense one."""

    attack: str
    dense_attack: str
    rate: Value
    dense_only_rate: Value
    allowed: str
    rows: str


@dataclass(frozen=True)
class Exposures:
    """The members that the strongest attack is surest of, and those that compression exposed."""

    attack: str
    rows: tuple[ExposedRow, ...]
    new: tuple[NewlyExposedRow, ...]


def exposures(verdict: Mapping[str, Any]) -> Exposures:
    """Return the most exposed members, none where they were not recorded.

    Args:
        verdict: the document of verdict.json.
    """
    entry = mapping(verdict.get("exposed"))
    rows = []
    for member in mappings(entry.get("members"))[:MOST_EXPOSED]:
        place, score = number(member.get("row")), number(member.get("score"))
        rate = number(member.get("false_positive_rate"))
        rows.append(
            ExposedRow(
                Value.of(place, count(place)),
                Value.of(score, "–" if score is None else f"{score:.4g}"),
                Value.of(rate, figure(rate, "percent")),
            )
        )
    new = tuple(map(_newly_exposed, mappings(verdict.get("newly_exposed"))[:MOST_ATTACKS]))
    return Exposures(text(entry.get("attack"), longest=80), tuple(rows), new)


def _newly_exposed(entry: Mapping[str, Any]) -> NewlyExposedRow:
    rate, dense_only = number(entry.get("rate")), number(entry.get("dense_only_rate"))
    # Thousands are not separated, because 1,234 in a list would read as two rows.
    numbers = map(number, sequence(entry.get("rows")))
    rows = [MISSING if row is None else f"{row:.0f}" for row in numbers]
    more = f" and {len(rows) - MOST_EXPOSED} more" if len(rows) > MOST_EXPOSED else ""
    return NewlyExposedRow(
        attack=text(entry.get("attack"), longest=80),
        dense_attack=text(entry.get("dense_attack"), longest=80),
        rate=Value.of(rate, figure(rate, "percent")),
        dense_only_rate=Value.of(dense_only, figure(dense_only, "percent")),
        allowed=figure(number(entry.get("false_positive_rate")), "percent"),
        rows=(", ".join(rows[:MOST_EXPOSED]) or "none") + more,
    )


@dataclass(frozen=True)
class GroupRow:
    """How well attacks do on one class or group; without a limit the badge is empty."""

    name: str
    badge: Badge | None
    attack: str
    auc: Value
    interval: str
    members: Value
    others: Value


@dataclass(frozen=True)
class AccusationRow:
    """The precision of accusations at one share of members."""

    prior: str
    precision: str
    fpr: str
    tpr: str


@dataclass(frozen=True)
class Leak:
    """Where attacks find members, and what the accusations of the strongest are worth."""

    attack: str
    accusations: tuple[AccusationRow, ...]
    classes: tuple[GroupRow, ...]
    groups: tuple[GroupRow, ...]
    limit: str
    measured: str
    unmeasured: str
    signals: str


def leak(verdict: Mapping[str, Any]) -> Leak:
    """Return where the strongest attack finds members; empty where it was not recorded.

    Args:
        verdict: the document of verdict.json.
    """
    entry = mapping(verdict.get("leak"))
    limit = number(entry.get("limit"))
    classes, groups = (
        tuple(_group_row(each, limit) for each in mappings(entry.get(key))[:MOST_CLASSES])
        for key in ("classes", "groups")
    )
    return Leak(
        attack=text(entry.get("attack"), longest=80),
        accusations=tuple(map(_accusation, mappings(entry.get("accusations"))[:MOST_ATTACKS])),
        classes=classes,
        groups=groups,
        limit="" if limit is None else figure(limit, "auc"),
        measured=count(entry.get("classes_measured")),
        unmeasured=count(entry.get("classes_without_rows")),
        signals=", ".join(map(_by_signals, mappings(entry.get("by_signals"))[:MOST_ATTACKS])),
    )


def _by_signals(entry: Mapping[str, Any]) -> str:
    """Return what attacks of one kind find, as a part of a sentence."""
    auc = mapping(entry.get("auc"))
    value, low, high = (figure(number(auc.get(key)), "auc") for key in ("value", "low", "high"))
    kind = text(entry.get("signals"), longest=80) or "undeclared"
    steered = "; it steered" if entry.get("steered") is True else ""
    return f"{kind} {value} ({low} to {high}, by {text(entry.get('attack'), longest=80)}{steered})"


def _accusation(entry: Mapping[str, Any]) -> AccusationRow:
    figures = {
        name: figure(number(entry.get(name)), "percent")
        for name in ("prior", "precision", "fpr", "tpr")
    }
    return AccusationRow(**figures)


def _group_row(entry: Mapping[str, Any], limit: float | None) -> GroupRow:
    auc, low, high = (number(entry.get(key)) for key in ("auc", "low", "high"))
    members, others = number(entry.get("members")), number(entry.get("nonmembers"))
    by = text(entry.get("by"), longest=80)
    name = text(entry.get("name"), longest=80) or MISSING
    return GroupRow(
        name=f"{by} {name}" if by else name,
        badge=_badge(low, high, limit),
        attack=text(entry.get("attack"), longest=80) or MISSING,
        auc=Value.of(auc, figure(auc, "auc")),
        interval=f"{figure(low, 'auc')} to {figure(high, 'auc')}",
        members=Value.of(members, count(members)),
        others=Value.of(others, count(others)),
    )


def _badge(low: float | None, high: float | None, limit: float | None) -> Badge | None:
    """Return how a group keeps the limit; None where nothing was asked."""
    if low is None or high is None or limit is None:
        return None
    return Badge.of("FAIL" if low > limit else "PASS" if high <= limit else "INCONCLUSIVE")
