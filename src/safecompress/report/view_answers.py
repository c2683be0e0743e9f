"""`answers`: what a reader asks first of a verdict, answered in a few words each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safecompress.report.check_kinds import kind_of
from safecompress.report.document_facts import checks_of, limit_of, status_of
from safecompress.report.safe import (
    LONGEST_SENTENCE,
    mapping,
    mappings,
    number,
    sequence,
    short,
    text,
)
from safecompress.report.view_set import set_view
from safecompress.report.view_verdict import Strongest, is_control, strongest
from safecompress.report.wording import Span, count, figure, interval

LONGEST_STEP, _LONGEST_SCOPE = 165, 120
"""Characters of an answer; five of them fit on the first screen of a phone."""
_NOT_JUDGED = re.compile(r"(no|without|left out|nothing|not measured|references of)\b")
"""How the parts of a scope begin that tell what was not judged."""
_UNDECIDED = ("WARN", "INCONCLUSIVE", "NOT_RUN")
_BEYOND = "Attacks that did not run; a stronger one may find more."
_ALIKE = "that it answers like its model, and the checks of the run once more"


@dataclass(frozen=True)
class Answer:
    """An answer: a few words, and the figures behind them."""

    question: str
    words: str
    detail: str = ""


@dataclass(frozen=True)
class Worst:
    """The class or group, or of a set the file, whose members attacks find most of.

    `name` says what it is, such as `class 17`, and `check` which check asks it; `rows` counts
    members and non-members, 0 where that is not known; `limit` is the AUC that is allowed, None
    where nothing was asked.
    """

    name: str
    check: str
    rows: int
    attack: str
    span: Span
    limit: float | None


def answers(verdict: Mapping[str, Any], *, rest: str = "below") -> tuple[Answer, ...]:
    """Return whether it leaks, where, what to do, and what was and was not judged.

    Args:
        verdict: the document of verdict.json, or of an exported file.
        rest: where the rest of a shortened answer stands.
    """
    judged, left_out = _scope(verdict)
    return (
        _leaks(verdict),
        _where(verdict),
        _next(verdict, rest),
        Answer("What was judged", short(judged, _LONGEST_SCOPE)),
        Answer("What was not judged", short(left_out, _LONGEST_SCOPE)),
    )


def _leak_checks(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        check
        for check in checks_of(verdict)
        if not is_control(check) and "privacy" in kind_of(check).tags
    ]


def _leaks(verdict: Mapping[str, Any]) -> Answer:
    checks = [check for check in _leak_checks(verdict) if check.get("critical") is True]
    ends = [text(check.get("status"), longest=40) for check in checks]
    failed, open_ = ends.count("FAIL"), ends.count("INCONCLUSIVE")
    broken = not {"ERROR", "NOT_RUN"}.isdisjoint(ends)
    unsure = sum(end in _UNDECIDED for end in ends)
    kept, among = len(checks) - unsure, _checks(checks)
    if failed:
        words = f"Yes, who was in its training data: {failed} of {among} exceed their limit."
    elif status_of(verdict) == "ERROR" or broken:
        words = "Not known: the tests did not run, or cannot be trusted."
    elif not checks:
        words = "Not known: no check of who was in its training data was asked for."
    elif open_:
        words = f"Not decided: {kept} of {among} keep their limit, {open_} must be settled"
        words += f", {unsure - open_} may stay open." if unsure > open_ else "."
    elif unsure:
        words = f"No more than allowed in {kept} of {among}; the rows leave {unsure} open."
    else:
        words = f"No more than allowed, by all {among} of who was in its training data."
    return Answer("Does it leak?", words, _strongest(verdict, strongest(verdict)))


def _strongest(verdict: Mapping[str, Any], found: Strongest | None) -> str:
    if found is None:
        return ""
    limit = limit_of(verdict, f"{found.attack}.auc")
    words = f"Strongest over all rows, “{found.attack}”: AUC {_auc(found.span)}"
    words += "" if limit is None else f"; at most {figure(limit, 'auc')} allowed"
    words += ", .500 is guessing"
    return words + ("." if found.dense is None else f"; on the dense model, {_auc(found.dense)}.")


def _checks(checks: Sequence[object]) -> str:
    return "1 leak check" if len(checks) == 1 else f"{len(checks)} leak checks"


def _auc(value: Span | float) -> str:
    span = value if isinstance(value, Span) else Span(value, None, None)
    return f"{figure(span.value, 'auc')} {interval(span, 'auc')}".strip()


def worst(verdict: Mapping[str, Any]) -> Worst | None:
    """Return where attacks find most; None where no class, group or file was measured.

    Args:
        verdict: the document of verdict.json.
    """
    entry = mapping(verdict.get("leak"))
    limit = number(entry.get("limit"))
    group = mapping(entry.get("worst_group"))
    if not group:
        group = max(mappings(entry.get("classes")), key=_size, default={})
    value = number(group.get("auc"))
    if value is None:
        return None
    by = text(group.get("by"), longest=40) or "class"
    rows = [number(group.get(side)) for side in ("members", "nonmembers")]
    return Worst(
        name=f"{by} {text(group.get('name'), longest=60)}".strip(),
        check=f"{'class' if by == 'class' else f'group:{by}'}.auc",
        rows=sum(int(count) for count in rows if count is not None),
        attack=text(group.get("attack"), longest=40),
        span=Span(value, number(group.get("low")), number(group.get("high"))),
        limit=limit_of(verdict, "class.auc") if limit is None else limit,
    )


def _size(entry: Mapping[str, Any]) -> float:
    value = number(entry.get("auc"))
    return float("-inf") if value is None else value


def _where(verdict: Mapping[str, Any]) -> Answer:
    question, found, among = "Where?", worst(verdict), _held(verdict)
    if found is None:
        return Answer(question, "No class and no group of rows was measured.", among)
    rows = f" ({count(found.rows)} rows)" if found.rows else ""
    words = f"Most in {found.name}{rows}: AUC {_auc(found.span)}"
    details = f"By the attack “{found.attack}”" if found.attack else "By the strongest attack there"
    if found.limit is not None:
        ends = _kept(verdict, found, found.limit)
        details += f"; at most {figure(found.limit, 'auc')} allowed: {ends}"
    return Answer(question, f"{words}.", f"{details}. {among}".strip())


def _kept(verdict: Mapping[str, Any], found: Worst, limit: float) -> str:
    """Return whether the worst group keeps its limit."""
    open_ = any(
        text(check.get("name"), longest=200).startswith(f"{found.check} ")
        and check.get("status") == "INCONCLUSIVE"
        for check in checks_of(verdict)
    )
    if found.span.high is not None and found.span.high <= limit:
        return "kept"
    if found.span.low is not None and found.span.low > limit:
        return "exceeded" + (", not beyond doubt among all checks" if open_ else "")
    return "the rows are too few to tell"


def _held(verdict: Mapping[str, Any]) -> str:
    """Return which file or files of a set give most away; empty for a single model."""
    view = set_view(verdict)
    rows = [] if view is None else [*view.files, *view.together, *view.pairs]
    known = [row for row in rows if row.auc.key]
    if not known:
        return ""
    most = max(known, key=lambda row: float(row.auc.key))
    return f"Of the set, most with {short(most.name, 90)}: AUC {most.auc.shown} {most.interval}."


def steps_of(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to do next, a sentence or more each; of a PASS, what to see to before a release.

    Args:
        verdict: the document of verdict.json, or of an exported file.
    """
    steps = [text(step, longest=LONGEST_SENTENCE) for step in sequence(verdict.get("next_steps"))]
    steps = [step for step in steps if step][:30]
    if steps or status_of(verdict) != "PASS":
        return tuple(steps or ["Read the checks below and judge again."])
    unsure = sum(
        check.get("critical") is True and check.get("status") in _UNDECIDED
        for check in checks_of(verdict)
    )
    before = []
    if unsure:
        noun = "undecided check" if unsure == 1 else "undecided checks"
        before.append(f"decide whether you can live with {unsure} {noun}")
    if "shadow-model" in _scope(verdict)[1]:
        before.append("judge it with shadow models")
    last = "ship this file and no other: any change needs a verdict."
    return (f"First {', and '.join(before)}. Then {last}" if before else last.capitalize(),)


def _next(verdict: Mapping[str, Any], rest: str) -> Answer:
    first, *others = steps_of(verdict)
    more = f"{len(others)} more {rest}." if others else ""
    whole = first[:LONGEST_STEP].rpartition(". ")[0]
    shown = f"{whole}." if len(first) > LONGEST_STEP and whole else short(first, LONGEST_STEP)
    if shown != first:
        more = f"In full {rest}."
    return Answer("What to do next", shown, more)


def _scope(verdict: Mapping[str, Any]) -> tuple[str, str]:
    """Return what was judged and what was not, from the parts of the scope."""
    scope = text(verdict.get("scope"), longest=LONGEST_SENTENCE)
    if verdict.get("kind") == "export":
        return f"The file: {_ALIKE}.", _BEYOND
    parts = [part.strip() for part in scope.split(";") if part.strip()]
    left_out = [part for part in parts if _NOT_JUDGED.match(part)]
    judged = [part for part in parts if part not in left_out]
    rows = _rows(mapping(verdict.get("power")))
    return _sentence([*judged, *rows], "Not stated."), _sentence(left_out, _BEYOND)


def _rows(power: Mapping[str, Any]) -> list[str]:
    members, others = number(power.get("n_members")), number(power.get("n_nonmembers"))
    if members is None or others is None:
        return []
    return [f"{count(members)} members and {count(others)} non-members"]


def _sentence(parts: Sequence[str], otherwise: str) -> str:
    words = "; ".join(parts)
    return f"{words[0].upper()}{words[1:]}." if words else otherwise
