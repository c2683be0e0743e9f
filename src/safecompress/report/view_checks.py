"""`check_groups` and `held_controls`: the report's checks, with those that only repeat folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from safecompress.report.check_kinds import kind_of
from safecompress.report.conditions import Limit, condition_words, limit_words, parse_limit
from safecompress.report.document_facts import checks_of
from safecompress.report.plots.interval import interval_bar
from safecompress.report.safe import number, text
from safecompress.report.view_comparison import measure_label
from safecompress.report.view_verdict import CONTROL, Badge, is_control
from safecompress.report.wording import (
    MISSING,
    Span,
    Value,
    beside,
    count,
    figure,
    interval,
    seconds,
    style_of,
)

MOST_CHECKS = 300
_SEVERITY = ("error", "fail", "inconclusive", "not-run", "warn", "pass")
_REPEATING = frozenset({"pass", "warn"})
"""How checks ended of which only the closest to its limit is shown for each kind and limit."""


@dataclass(frozen=True)
class CheckRow:
    """One line of the table of checks.

    `rank` sorts by status, the worst first, and `repeats` counts the checks that it stands for.
    """

    badge: Badge
    name: str
    critical: bool
    rank: int
    figure: Value
    interval: str
    bar: Markup
    condition: str
    members: str
    nonmembers: Value
    knowledge: str
    seconds: Value
    message: str
    advice: str
    repeats: int


@dataclass(frozen=True)
class CheckGroup:
    """Lines of the table of checks under one heading; the first has none."""

    heading: str
    rows: tuple[CheckRow, ...]


@dataclass(frozen=True)
class ChecksView:
    """The checks of a page.

    Args:
        groups: the checks that are shown, the worst first, then controls that did not hold.
        repeated: checks that ended like one that is shown, of the same kind and with the same
            limit, and are further from it.
        held: the controls that held.
        more: number of checks that are left out, because there are too many.
    """

    groups: tuple[CheckGroup, ...]
    repeated: tuple[CheckRow, ...]
    held: tuple[CheckRow, ...]
    more: int

    @property
    def passed(self) -> int:
        """How many of the repeated checks passed."""
        return sum(row.badge.css == "pass" for row in self.repeated)


def checks_view(verdict: Mapping[str, Any]) -> ChecksView:
    """Return the checks as a page shows them.

    Args:
        verdict: the document of verdict.json, or of an exported file.
    """
    every = checks_of(verdict)
    checks = list(enumerate(every[:MOST_CHECKS]))
    model = [each for each in checks if not is_control(each[1])]
    shown, repeated = _without_repeats([check for _, check in model])
    rows = [_check_row(*model[place], repeats=len(others)) for place, others in shown]
    controls = [_check_row(i, check) for i, check in checks if is_control(check)]
    groups = (
        CheckGroup("", tuple(sorted(rows, key=lambda row: row.rank))),
        CheckGroup(
            "Controls: can the tests themselves be believed?",
            tuple(row for row in controls if row.badge.css != "pass"),
        ),
    )
    return ChecksView(
        groups=tuple(group for group in groups if group.rows),
        repeated=tuple(_check_row(*model[place]) for place in repeated),
        held=tuple(row for row in controls if row.badge.css == "pass"),
        more=max(0, len(every) - MOST_CHECKS),
    )


def _without_repeats(
    checks: Sequence[Mapping[str, Any]],
) -> tuple[list[tuple[int, list[int]]], list[int]]:
    """Return the places of the checks to show, each with those of its repeats, and all repeats."""
    alike: dict[object, list[int]] = {}
    for place, check in enumerate(checks):
        badge = _badge(check)
        repeats = badge.css in _REPEATING and parse_limit(check.get("condition")) is not None
        condition = condition_words(check.get("condition"))
        own = (badge, check.get("critical") is True, kind_of(check).id, condition)
        alike.setdefault(own if repeats else place, []).append(place)
    shown = []
    for places in alike.values():
        closest = min(places, key=lambda place: _room(checks[place]))
        shown.append((closest, [place for place in places if place != closest]))
    return shown, sorted(place for _, others in shown for place in others)


def _room(check: Mapping[str, Any]) -> float:
    """Return how far an interval is on the allowed side of its limit; negative beyond it."""
    limit, span = parse_limit(check.get("condition")), Span.read(check)
    if limit is None or not span.known:
        return float("-inf")
    return limit.bound - max(span.known) if limit.at_most else min(span.known) - limit.bound


def _badge(check: Mapping[str, Any]) -> Badge:
    badge = Badge.of(check.get("status"))
    if check.get("decided") is False and badge.css == "warn":
        return Badge("undecided", badge.css)
    return badge


def _check_row(index: int, check: Mapping[str, Any], *, repeats: int = 0) -> CheckRow:
    full_name = text(check.get("name"), longest=200) or f"check {index + 1}"
    style = style_of(full_name)
    span = Span.read(check)
    limit = _limit(check, span)
    relative = limit is not None and limit.relative
    condition = condition_words(check.get("condition"))
    knowledge = text(check.get("knowledge"), longest=40)
    words = (
        figure(span.value, style, signed=relative)
        if limit is None or relative
        else beside(span.value, limit.bound, style)
    )
    badge = _badge(check)
    return CheckRow(
        badge=badge,
        name=_check_name(full_name, condition),
        critical=check.get("critical") is True,
        rank=_SEVERITY.index(badge.css),
        figure=Value.of(span.value, words),
        interval=interval(span, style, signed=relative),
        bar=interval_bar(span, limit, style=style, identity=f"check-{index + 1}-bar"),
        condition=(condition if limit is None else limit_words(limit, style)) or MISSING,
        members=count(check.get("n_members") or None),
        nonmembers=Value.of(
            number(check.get("n_nonmembers")), count(check.get("n_nonmembers") or None)
        ),
        knowledge=MISSING if knowledge in {"", "none"} else knowledge,
        seconds=Value.of(number(check.get("seconds")), seconds(check.get("seconds"))),
        message=text(check.get("message"), longest=1000),
        advice=text(check.get("advice"), longest=1000),
        repeats=repeats,
    )


def _limit(check: Mapping[str, Any], span: Span) -> Limit | None:
    """Return the bound of a check's condition, corrected for its rounding to six digits.

    Without the correction a check that passed could be drawn as if it had missed its bound.
    """
    limit = parse_limit(check.get("condition"))
    if limit is None or span.value is None or check.get("status") != "PASS":
        return limit
    rounded = f"{span.value:g}" == f"{limit.bound:g}"
    return replace(limit, bound=span.value) if rounded else limit


def _check_name(name: str, condition: str) -> str:
    bare = name.removesuffix(condition).strip() or name
    return measure_label(bare.removeprefix(CONTROL).strip() or bare)
