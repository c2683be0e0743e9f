"""`next_steps` and `advised`: what to do about a verdict or a check, with the figures of this run.

Results are sorted by what they are about, such as leaks or undecided checks, and one rule for each
kind says in a sentence what to change. A verdict other than PASS has at least one next step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TypeAlias

from safecompress.checks import (
    AttributeInference,
    Check,
    CheckResult,
    Density,
    Measure,
    QuerySavingMeasure,
    Status,
    TransferGain,
    TransferRate,
    rows_to_settle,
)
from safecompress.config import CompressConfig
from safecompress.verdicts import advice_rules as rules
from safecompress.verdicts.case import Case
from safecompress.verdicts.sentence import is_control, is_undecided

_ENDS: Mapping[Status, frozenset[Status]] = {
    Status.PASS: frozenset(),
    Status.FAIL: frozenset({Status.FAIL}),
    Status.INCONCLUSIVE: frozenset({Status.INCONCLUSIVE}),
    Status.ERROR: frozenset({Status.ERROR, Status.NOT_RUN}),
}
"""By status of a verdict, the statuses of critical checks that brought it about."""


class Kind(StrEnum):
    """What a case is about, in the order in which next steps name them."""

    CONTROL = "control"
    BROKEN = "broken"
    LEAK = "leak"
    PARENT = "parent"
    COLUMN = "column"
    WORTH = "worth"
    SIZE = "size"
    OTHER = "other"
    ROWS = "rows"
    LIMIT = "limit"
    UNMEASURED = "unmeasured"


Rule: TypeAlias = Callable[[Sequence[Case], CompressConfig | None], str]
"""Makes one sentence of all cases of a kind; the configuration is None in an audit."""


_RULES: Mapping[Kind, Rule] = {
    Kind.CONTROL: rules.control_step,
    Kind.BROKEN: rules.broken_step,
    Kind.LEAK: rules.leak_step,
    Kind.PARENT: rules.parent_step,
    Kind.COLUMN: rules.column_step,
    Kind.WORTH: rules.worth_step,
    Kind.SIZE: rules.size_step,
    Kind.OTHER: rules.other_step,
    Kind.ROWS: rules.rows_step,
    Kind.LIMIT: rules.limit_step,
    Kind.UNMEASURED: rules.unmeasured_step,
}
"""By kind, the rule that makes its next step."""
_OF_MEASURES: Mapping[Kind, tuple[type[Measure], ...]] = {
    Kind.PARENT: (TransferRate, TransferGain, QuerySavingMeasure),
    Kind.COLUMN: (AttributeInference,),
    Kind.SIZE: (Density,),
}
"""By kind, the measures whose failures are of it; of others, `leak` and `worse` tell."""


def kind_of(case: Case) -> Kind:
    """Return what a case is about.

    Args:
        case: a result that asks for action, with its check.
    """
    if is_control(case.result):
        return Kind.CONTROL
    if case.result.status in {Status.ERROR, Status.NOT_RUN}:
        return Kind.BROKEN
    return _undecided_kind(case) if is_undecided(case.result) else _failed_kind(case)


def _undecided_kind(case: Case) -> Kind:
    if case.result.estimate is None or case.check is None:
        return Kind.UNMEASURED
    settled = rows_to_settle(case.result.estimate, case.check.condition)
    return Kind.LIMIT if settled is None else Kind.ROWS


def _failed_kind(case: Case) -> Kind:
    measure = None if case.check is None else case.check.measure
    for kind, measures in _OF_MEASURES.items():
        if isinstance(measure, measures):
            return kind
    if case.result.leak:
        return Kind.LEAK
    return Kind.WORTH if getattr(measure, "worse", "") == "lower" else Kind.OTHER


def next_steps(
    status: Status,
    results: Sequence[CheckResult],
    *,
    checks: Mapping[str, Check],
    config: CompressConfig | None,
    classifies: bool = True,
) -> tuple[str, ...]:
    """Return what to do after a verdict, a sentence each; empty only after a PASS.

    Args:
        status: PASS, FAIL, INCONCLUSIVE or ERROR.
        results: the results of all checks, controls included.
        checks: the checks by name; controls have none.
        config: the configuration of the run, whose settings are then named; None in an audit.
        classifies: whether the model chooses one of several classes.
    """
    if status is Status.PASS:
        return ()
    cases: dict[Kind, list[Case]] = {kind: [] for kind in Kind}
    # A check that a control took away is mended with the control, which has a step of its own.
    failed = {r.attack for r in results if is_control(r) and r.status is Status.ERROR} - {""}
    for result in results:
        taken = result.attack in failed and not is_control(result)
        if result.critical and result.status in _ENDS[status] and not taken:
            case = Case(result, checks.get(result.name), classifies)
            cases[kind_of(case)].append(case)
    steps = tuple(_RULES[kind](of_kind, config) for kind, of_kind in cases.items() if of_kind)
    return steps or (
        "Ask for at least one critical check (verdict.checks), because a verdict without one "
        "decides nothing.",
    )


def advised(
    result: CheckResult,
    check: Check | None,
    config: CompressConfig | None,
    *,
    classifies: bool = True,
) -> CheckResult:
    """Return a result with what to do about it; one that passed or has advice stays as it is.

    Args:
        result: how a check or control ended.
        check: the check; None of a control.
        config: the configuration of the run; None in an audit.
        classifies: whether the model chooses one of several classes.
    """
    idle = result.status is Status.NOT_RUN and not result.critical
    if result.status is Status.PASS or idle or result.advice:
        return result
    case = Case(result, check, classifies)
    return replace(result, advice=_RULES[kind_of(case)]([case], config))
