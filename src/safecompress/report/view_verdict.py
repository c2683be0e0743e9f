"""`hero`, `check_groups`, `held_controls`: the report's verdict, key figures and checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from safecompress.report.conditions import Limit, condition_words, limit_words, parse_limit
from safecompress.report.plots.interval import interval_bar
from safecompress.report.safe import LONGEST_SENTENCE, mapping, mappings, number, sequence, text
from safecompress.report.view_comparison import measure_label, subjects_of
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
    with_interval,
)
from safecompress.verdict_names import COMPRESSED, DENSE

MOST_CHECKS = 300
_MOST_SENTENCES = 30
_WORDS = {
    "PASS": "pass",
    "FAIL": "fail",
    "INCONCLUSIVE": "inconclusive",
    "WARN": "warning",
    "ERROR": "error",
    "NOT_RUN": "not run",
}
_SEVERITY = ("error", "fail", "inconclusive", "not-run", "warn", "pass")
_SENTENCES = {
    "PASS": "Every critical check passed.",
    "FAIL": "At least one critical check failed.",
    "INCONCLUSIVE": "There were too few points to decide.",
}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_CONTROL = "control:"


@dataclass(frozen=True)
class Badge:
    """A status: its word, and the class that gives it color and sign."""

    word: str
    css: str

    @classmethod
    def of(cls, status: object) -> Badge:
        """Return the badge of a status; an unknown status is shown as an error.

        Args:
            status: the status in verdict.json.
        """
        name = text(status, longest=40)
        return cls(_WORDS.get(name, name or "error"), _css(name))


def _css(status: str) -> str:
    return status.lower().replace("_", "-") if status in _WORDS else "error"


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Hero:
    """The top of the page; `rest` is what follows the verdict's first sentence.

    `steps` are what to do next, `scope` is what was tested, `remarks` what was noticed,
    and `standard` what the limits follow.
    """

    badge: Badge
    sentence: str
    rest: str
    steps: tuple[str, ...]
    scope: str
    remarks: tuple[str, ...]
    standard: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class CheckRow:
    """One line of the table of checks; `rank` sorts by status, the worst first."""

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


@dataclass(frozen=True)
class CheckGroup:
    """Lines of the table of checks under one heading; the first has none."""

    heading: str
    rows: tuple[CheckRow, ...]


def hero(verdict: Mapping[str, Any]) -> Hero:
    """Return the top of the page.

    Args:
        verdict: the document of verdict.json.
    """
    status = text(verdict.get("verdict"), longest=40)
    sentence = text(verdict.get("sentence"), longest=LONGEST_SENTENCE)
    first, _, rest = _SENTENCE_END.sub("\n", sentence, count=1).partition("\n")
    known = "No verdict: the tests could not be trusted or did not run."
    return Hero(
        Badge.of(status) if status in {*_SENTENCES, "ERROR"} else Badge(status or "error", "error"),
        first or _SENTENCES.get(status, known),
        rest,
        _sentences(verdict.get("next_steps")),
        text(verdict.get("scope"), longest=LONGEST_SENTENCE),
        _sentences(verdict.get("remarks")),
        text(verdict.get("standard"), longest=LONGEST_SENTENCE),
        (_size(verdict), _accuracy(verdict), _strongest(verdict), _passed(verdict)),
    )


def _sentences(items: object) -> tuple[str, ...]:
    shown = (text(item, longest=LONGEST_SENTENCE) for item in sequence(items)[:_MOST_SENTENCES])
    return tuple(item for item in shown if item)


def judged(verdict: Mapping[str, Any]) -> str:
    """Return the name of the judged model in the comparison.

    Args:
        verdict: the document of verdict.json.
    """
    return text(verdict.get("judged"), longest=80) or COMPRESSED


def _size(verdict: Mapping[str, Any]) -> Tile:
    model = mapping(verdict.get("model"))
    if verdict.get("kind") in ("audit", "joint"):
        power = mapping(verdict.get("power"))
        rows = f"{count(power.get('n_members'))} + {count(power.get('n_nonmembers'))}"
        return Tile("Rows", rows, "members and non-members whose outputs were recorded")
    kept = f"{count(model.get('nonzeros'))} of {count(model.get('maskable'))} maskable weights kept"
    detail = kept if number(model.get("nonzeros")) is not None else "share of the weights kept"
    return Tile("Density", figure(number(model.get("density")), "percent"), detail)


def _accuracy(verdict: Mapping[str, Any]) -> Tile:
    model = mapping(verdict.get("model"))
    entries = subjects_of(verdict)
    accuracy = Span.read(mapping(entries.get(judged(verdict))).get("accuracy"))
    value = accuracy.value if accuracy.value is not None else number(model.get("accuracy"))
    dense = number(mapping(model.get("dense")).get("accuracy"))
    if dense is None:
        dense = Span.read(mapping(entries.get(DENSE)).get("accuracy")).value
    if dense is None:
        return Tile(
            "Accuracy", figure(value, "percent"), interval(accuracy, "percent") or "no dense model"
        )
    differences = mapping(mapping(entries.get(judged(verdict))).get("difference_to_dense"))
    gap = Span.read(differences.get("accuracy"))
    detail = f"dense model {figure(dense, 'percent')}"
    if gap.value is not None:
        detail += f"; difference {with_interval(gap, 'percent', signed=True)}"
    return Tile("Accuracy", figure(value, "percent"), detail)


def _strongest(verdict: Mapping[str, Any]) -> Tile:
    entries = subjects_of(verdict)
    attacks = mapping(mapping(entries.get(judged(verdict))).get("attacks"))
    spans = [
        (Span.read(v), text(k, longest=80)) for k, v in attacks.items() if style_of(str(k)) == "auc"
    ]
    known = [(span.value, name, span) for span, name in spans if span.value is not None]
    if not known:
        return Tile("Strongest attack", MISSING, "no attack was compared")
    value, name, span = max(known, key=lambda item: item[0])
    dense = Span.read(mapping(mapping(entries.get(DENSE)).get("attacks")).get(name)).value
    attack = name.removesuffix(".auc")
    detail = f"{interval(span, 'auc')} AUC of the attack “{attack}”; guessing is .500"
    if dense is not None:
        detail += f", the dense model {figure(dense, 'auc')}"
    return Tile("Strongest attack", figure(value, "auc"), detail.strip())


def _passed(verdict: Mapping[str, Any]) -> Tile:
    checks = mappings(verdict.get("checks"))
    controls = [c for c in checks if _is_control(c)]
    critical = [c for c in checks if c.get("critical") is True and not _is_control(c)]
    others = len(checks) - len(controls) - len(critical)
    details = [f"{others} more only inform"] if others else []
    if controls:
        details.append(f"{_count_passed(controls)} of {len(controls)} controls of the tests held")
    ratio = f"{_count_passed(critical)} of {len(critical)}"
    return Tile("Critical checks passed", ratio, "; ".join(details))


def _count_passed(checks: Sequence[Mapping[str, Any]]) -> int:
    return sum(c.get("status") == "PASS" for c in checks)


def _is_control(check: Mapping[str, Any]) -> bool:
    return text(check.get("name")).startswith(_CONTROL)


def check_groups(verdict: Mapping[str, Any]) -> tuple[CheckGroup, ...]:
    """Return the table of checks: those of the model, then the controls that did not hold.

    Args:
        verdict: the document of verdict.json.
    """
    rows = [
        (_is_control(check), _check_row(check, index))
        for index, check in enumerate(mappings(verdict.get("checks"))[:MOST_CHECKS])
        if not _held(check)
    ]
    groups = (
        CheckGroup("", tuple(row for control, row in rows if not control)),
        CheckGroup(
            "Controls: can the tests themselves be believed?",
            tuple(row for control, row in rows if control),
        ),
    )
    return tuple(group for group in groups if group.rows)


def held_controls(verdict: Mapping[str, Any]) -> tuple[CheckRow, ...]:
    """Return the controls that held, which the page shows folded into one line.

    Args:
        verdict: the document of verdict.json.
    """
    return tuple(
        _check_row(check, index)
        for index, check in enumerate(mappings(verdict.get("checks"))[:MOST_CHECKS])
        if _held(check)
    )


def _held(check: Mapping[str, Any]) -> bool:
    return _is_control(check) and check.get("status") == "PASS"


def _check_row(check: Mapping[str, Any], index: int) -> CheckRow:
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
    badge = Badge.of(check.get("status"))
    if check.get("decided") is False and badge.css == "warn":
        badge = Badge("undecided", badge.css)
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
    return measure_label(bare.removeprefix(_CONTROL).strip() or bare)
