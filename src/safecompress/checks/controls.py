"""`control_checks`: checks of the attacks and rows themselves, before their verdict is believed.

A control that fails is an ERROR, not a FAIL, because it shows a fault of the test and not of the
model. Each control has a one-sided level of .001, so that about one in a hundred sound audits with
a dozen controls ends in an ERROR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from safecompress.attacks.controls import (
    LEVEL,
    ControlResult,
    blind_baseline,
    no_leak,
    planted_leak,
)
from safecompress.checks.check import CheckResult
from safecompress.checks.conditions import Status
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import FOREIGN, MissingEvidenceError, UndecidableError
from safecompress.protocols import Attack, AttackResult, Estimate, Outputs, Pool, Rows
from safecompress.stats import auc, auc_difference, auc_interval, auc_p_value

_CHANCE = f"at chance (p ≥ {LEVEL:g})"
_CAUGHT = "caught"
_NOT_ABOVE = f"AUC difference ≤ 0 within its interval (level {1 - 2 * LEVEL:g})"

ControlOutcome: TypeAlias = tuple[bool, Estimate, str]
"""Whether the control passed, what was measured, and what it means in words."""


def control_checks(
    subject: Subject,
    sealed: Pool[Rows],
    *,
    attacks: Sequence[Attack],
    untouched: Subject | None = None,
) -> tuple[CheckResult, ...]:
    """Run every control of a verdict.

    Args:
        subject: the judged model.
        sealed: the rows it is judged on, for the baseline that sees no model.
        attacks: the attacks of the suite.
        untouched: the same architecture before any training, on the same rows; no attack may tell
            its members from its non-members. None where there is no such model.
    """
    results = [_control("control: blind baseline", _CHANCE, partial(_blind, subject, sealed))]
    rows = subject.outputs.nonmembers
    for attack in attacks:
        planted = partial(_planted, rows, attack, seed=subject.seed)
        silent = partial(_silent, rows, attack, seed=subject.seed)
        results.append(_control(f"control: planted leak, {attack.name}", _CAUGHT, planted))
        results.append(_control(f"control: no leak, {attack.name}", _CHANCE, silent))
        if untouched is not None:
            name = f"control: untouched model, {attack.name}"
            results.append(_control(name, _CHANCE, partial(_untouched, untouched, attack)))
    white = [attack for attack in attacks if attack.white_box]
    black = [attack for attack in attacks if not attack.requires]
    if white and black:
        order = partial(_in_order, subject, black, white)
        results.append(_control("control: black-box not above white-box", _NOT_ABOVE, order))
    return tuple(results)


def _control(name: str, condition: str, measure: Callable[[], ControlOutcome]) -> CheckResult:
    watch = Stopwatch()
    try:
        ok, estimate, message = measure()
    except (MissingEvidenceError, UndecidableError) as error:
        # The checks of a verdict on so few rows are inconclusive as well, and say so.
        return CheckResult(name, Status.NOT_RUN, False, condition, None, watch.seconds, str(error))
    except FOREIGN as error:  # third-party attacks may raise anything
        return CheckResult(name, Status.ERROR, True, condition, None, watch.seconds, str(error))
    status = Status.PASS if ok else Status.ERROR
    return CheckResult(name, status, True, condition, estimate, watch.seconds, message)


def _blind(subject: Subject, sealed: Pool[Rows]) -> ControlOutcome:
    result = blind_baseline(sealed, halves=subject.halves, seed=subject.seed)
    estimate = Estimate(result.auc, result.auc, result.auc, result.n_members, result.n_nonmembers)
    return not result.alarm, estimate, result.message


def _planted(rows: Outputs, attack: Attack, *, seed: int) -> ControlOutcome:
    return _outcome(planted_leak(rows, attack, seed=seed))


def _silent(rows: Outputs, attack: Attack, *, seed: int) -> ControlOutcome:
    return _outcome(no_leak(rows, attack, seed=seed))


def _outcome(result: ControlResult) -> ControlOutcome:
    value, n_members, n_nonmembers = result.auc, result.n_members, result.n_nonmembers
    return result.ok, Estimate(value, value, value, n_members, n_nonmembers), result.message


def _untouched(subject: Subject, attack: Attack) -> ControlOutcome:
    scores = subject.attacked_by(attack).scores
    interval = auc_interval(scores.members, scores.nonmembers)
    p = auc_p_value(scores.members, scores.nonmembers)
    estimate = Estimate(
        interval.value, interval.low, interval.high, len(scores.members), len(scores.nonmembers)
    )
    return p >= LEVEL, estimate, f"before any training: AUC {interval.value:.3f} (p = {p:.2g})"


def _in_order(subject: Subject, black: Sequence[Attack], white: Sequence[Attack]) -> ControlOutcome:
    """Compare the strongest attack of either kind, on the half that both are judged on."""
    black_box, white_box = (
        max((subject.attacked_by(a) for a in kind), key=_judged_auc) for kind in (black, white)
    )
    gap = auc_difference(
        black_box.judged.members,
        black_box.judged.nonmembers,
        white_box.judged.members,
        white_box.judged.nonmembers,
        level=1 - 2 * LEVEL,
    )
    sizes = len(white_box.judged.members), len(white_box.judged.nonmembers)
    message = (
        f"{black_box.attack} has AUC {_judged_auc(black_box):.3f}, {white_box.attack} "
        f"{_judged_auc(white_box):.3f} on the same rows; who also sees inside the model can do no "
        "worse"
    )
    if gap.low > 0:
        message += ", so the white-box attack is badly run: judge by white-box or a stronger one"
    return gap.low <= 0, Estimate(gap.value, gap.low, gap.high, *sizes), f"{message}."


def _judged_auc(result: AttackResult) -> float:
    return auc(result.judged.members, result.judged.nonmembers)
