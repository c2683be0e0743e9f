"""`overall`, `unasked`, `in_doubt`, `withdrawn`: how checks and controls become one status.

A control that fails takes figures away. A control of one attack takes away what this attack found,
and nothing else: what another attack has proved stays proved. A control of the rows takes away
every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from safecompress.checks.check import CheckResult
from safecompress.checks.conditions import Status
from safecompress.checks.suite import Suite

_UNDONE = frozenset({Status.ERROR, Status.NOT_RUN})


def overall(results: Sequence[CheckResult], controls: Sequence[CheckResult] = ()) -> Status:
    """Return the status of a whole suite: PASS, FAIL, INCONCLUSIVE or ERROR.

    The first of these rules that applies decides:

    1. ERROR without a critical check, or when a control of no attack in particular failed.
    2. ERROR when a critical check broke or could not run, because a model must not pass a test that
       was not made. Checks of an attack whose own control failed are left to rule 4.
    3. FAIL when a critical check failed whose attack, if it has one, has no failed control: no
       other attack's fault can undo what it found.
    4. ERROR when a control of any attack failed.
    5. INCONCLUSIVE when a critical check or a critical control could not be settled, otherwise
       PASS.

    So PASS needs at least one critical check, every critical check passed, and no failed control.

    Args:
        results: the results of all checks, withdrawn or not.
        controls: the results of the controls; empty where there are none. Those that did not run
            decide nothing.
    """
    failed = [control for control in controls if control.status is Status.ERROR]
    broken = {control.attack for control in failed}
    critical = [result for result in results if result.critical]
    if not critical or "" in broken:
        return Status.ERROR
    standing = {result.status for result in critical if result.attack not in broken}
    if standing & _UNDONE:
        return Status.ERROR
    if Status.FAIL in standing:
        return Status.FAIL
    if failed:
        return Status.ERROR
    standing |= {control.status for control in controls if control.critical}
    return Status.INCONCLUSIVE if Status.INCONCLUSIVE in standing else Status.PASS


def unasked(suite: Suite) -> tuple[CheckResult, ...]:
    """Return an undecided control where no critical check of a suite tests a leak; else none.

    A model that is small and accurate enough is not shown to be safe by that, nor is one whose
    limits the largest leak would keep.

    Args:
        suite: the checks.
    """
    critical = [check for check in suite.checks if check.critical]
    if not critical or any(check.tests_a_leak for check in critical):
        return ()
    return (
        in_doubt(
            "a test of leaks",
            "no critical check asks what the model gives away, with a limit that can be missed",
            wanted="a critical check of what the model gives away",
            advice="Ask for an attack with a limit below 1 (verdict.checks), or leave the list "
            "out, for usual ones.",
        ),
    )


def in_doubt(name: str, why: str, *, wanted: str, advice: str) -> CheckResult:
    """Return a control that leaves a verdict undecided, unless something proves a leak.

    Args:
        name: what is in doubt.
        why: the reason, in words.
        wanted: what would settle the doubt, as a condition.
        advice: what to do.
    """
    status = Status.INCONCLUSIVE
    return CheckResult(f"control: {name}", status, True, wanted, None, 0.0, why, advice=advice)


def withdrawn(
    results: Sequence[CheckResult], controls: Sequence[CheckResult]
) -> tuple[CheckResult, ...]:
    """Return the results with those of attacks whose own control failed turned into errors.

    A withdrawn result keeps its figure, which shows what the attack said, and names the control,
    whose message tells more.

    Args:
        results: the results of all checks.
        controls: the results of the controls.
    """
    reasons: dict[str, str] = {}
    for control in controls:
        if control.status is Status.ERROR and control.attack:
            name = control.name.removeprefix("control: ")
            reasons.setdefault(control.attack, f"its control failed: {name}")
    return tuple(
        replace(r, status=Status.ERROR, message=reasons[r.attack]) if r.attack in reasons else r
        for r in results
    )
