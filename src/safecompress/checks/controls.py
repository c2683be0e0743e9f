"""`control_checks`: checks of the attacks and rows themselves, before their verdict is believed.

A control that fails is an ERROR, not a FAIL, because it shows a fault of the test and not of the
model. `CheckResult.attack` names the attack whose figures it takes away; a control without an
attack concerns the rows, and with them every figure.

The controls of one kind share a level of .001, however many attacks there are, so that an audit
without a fault ends in an ERROR about once in 300 times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from torch import Tensor

from safecompress.attacks.controls import (
    LEVEL,
    ControlResult,
    blind_baseline,
    no_leak,
    planted_leak,
)
from safecompress.attacks.direction import CHANCE, chance_of
from safecompress.checks.check import CheckResult
from safecompress.checks.conditions import Status
from safecompress.checks.reference_doubts import reference_doubts
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.checks.unread_answers import unread_doubts
from safecompress.errors import FOREIGN, MissingEvidenceError, UndecidableError
from safecompress.protocols import (
    Attack,
    AttackResult,
    Estimate,
    Evidence,
    Outputs,
    Pool,
    Rows,
)
from safecompress.stats import auc, auc_difference, auc_interval, auc_p_value

_CAUGHT = "caught"
_NOT_ABOVE = f"AUC difference ≤ 0 within its interval (level {1 - 2 * LEVEL:g})"
_BLIND = "control: blind baseline"
_VERSIONS = frozenset({"parent", "family"})
"""What an attack requires that holds several models."""

ControlOutcome: TypeAlias = tuple[bool, Estimate, str]
"""Whether the control passed, what was measured, and what it means in words."""


def control_checks(
    subject: Subject,
    sealed: Pool[Rows],
    *,
    attacks: Sequence[Attack],
    untouched: Subject | None = None,
    among: int = 0,
    accuracy_known: bool = False,
) -> tuple[CheckResult, ...]:
    """Run every control of a verdict.

    Args:
        subject: the judged model.
        sealed: the rows it is judged on, for the baseline that sees no model.
        attacks: the attacks of the suite.
        untouched: the same architecture before any training, on the same rows; no attack may tell
            its members from its non-members. None where there is no such model.
        among: number of attacks whose controls share one level, those of other models included; at
            least that of `attacks`.
        accuracy_known: as in `reference_doubts`.
    """
    at_chance = f"at chance (p ≥ {LEVEL:g})"
    blind = _control(_BLIND, at_chance, partial(_blind, subject, sealed))
    doubts = reference_doubts(subject.evidence, accuracy_known=accuracy_known)
    return (
        blind,
        *doubts,
        *unread_doubts(subject, attacks),
        *attack_controls(subject, attacks=attacks, untouched=untouched, among=among),
    )


def attack_controls(
    subject: Subject,
    *,
    attacks: Sequence[Attack],
    untouched: Subject | None = None,
    among: int = 0,
) -> tuple[CheckResult, ...]:
    """Run the controls of attacks on one model, or on several that an attacker holds together.

    Where other models belong to the evidence, as its parent or family, the control without a leak
    reads what they really say of the non-members; elsewhere an attack's further evidence is
    imagined.

    Args:
        subject: the judged model.
        attacks: the attacks.
        untouched: as in `control_checks`.
        among: as in `control_checks`.
    """
    level = LEVEL / max(1, len(attacks), among)
    chance = f"at chance (p ≥ {level:.2g})"
    rows, known = subject.outputs.nonmembers, subject.evidence.nonmembers
    results = []
    for attack in attacks:
        of = partial(_control, attack=attack.name)
        planted = partial(_planted, rows, attack, seed=subject.seed)
        held = known if attack.requires & _VERSIONS and _has(known, attack) else rows
        silent = partial(_silent, held, attack, seed=subject.seed, level=level)
        results.append(of(f"control: planted leak, {attack.name}", _CAUGHT, planted))
        results.append(of(f"control: no leak, {attack.name}", chance, silent))
        if attack.directed:
            right = f"AUC not below 0.5 (interval at level {1 - level:.6g})"
            direction = partial(_direction, subject, attack, level=level)
            results.append(of(f"control: direction, {attack.name}", right, direction))
        if untouched is not None:
            name = f"control: untouched model, {attack.name}"
            results.append(of(name, chance, partial(_untouched, untouched, attack, level=level)))
    white = [attack for attack in attacks if attack.white_box]
    black = [attack for attack in attacks if not attack.requires]
    if white and black:
        results.append(_order(subject, black, white))
    return tuple(results)


def not_run(results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Return what was not tested itself, because its controls could not be run.

    These are names of attacks, in the order of their controls, whose planted leak or whose rows
    without a leak were undecidable; and `blind baseline` where the rows were not compared without
    a model. The messages of the controls say why.

    Args:
        results: the results of `control_checks`; other checks among them are passed over.
    """
    about = {
        r.attack or _BLIND.removeprefix("control: "): None
        for r in results
        if r.status is Status.NOT_RUN
        and r.name.startswith((_BLIND, "control: planted leak, ", "control: no leak, "))
    }
    return tuple(about)


def _control(
    name: str, condition: str, measure: Callable[[], ControlOutcome], *, attack: str = ""
) -> CheckResult:
    watch, critical, estimate = Stopwatch(), True, None
    try:
        ok, estimate, message = measure()
        status = Status.PASS if ok else Status.ERROR
    except (MissingEvidenceError, UndecidableError) as error:
        # The verdict's sentence says that the control was not run.
        status, critical, message = Status.NOT_RUN, False, str(error)
    except FOREIGN as error:  # third-party attacks may raise anything
        status, message = Status.ERROR, str(error) or repr(error)
    return CheckResult(
        name, status, critical, condition, estimate, watch.seconds, message, attack=attack
    )


def _blind(subject: Subject, sealed: Pool[Rows]) -> ControlOutcome:
    result = blind_baseline(sealed, halves=subject.halves, seed=subject.seed)
    estimate = Estimate(result.auc, result.auc, result.auc, result.n_members, result.n_nonmembers)
    return not result.alarm, estimate, result.message


def _planted(rows: Outputs, attack: Attack, *, seed: int) -> ControlOutcome:
    return _outcome(planted_leak(rows, attack, seed=seed))


def _has(known: Evidence, attack: Attack) -> bool:
    return all(getattr(known, name, None) is not None for name in attack.requires)


def _silent(rows: Outputs | Evidence, attack: Attack, *, seed: int, level: float) -> ControlOutcome:
    return _outcome(no_leak(rows, attack, seed=seed, level=level))


def _outcome(result: ControlResult) -> ControlOutcome:
    value, n_members, n_nonmembers = result.auc, result.n_members, result.n_nonmembers
    return result.ok, Estimate(value, value, value, n_members, n_nonmembers), result.message


def _untouched(subject: Subject, attack: Attack, *, level: float) -> ControlOutcome:
    scores = subject.attacked_by(attack).scores
    estimate = _auc_of(scores, level=1 - 2 * level)
    p = auc_p_value(scores.members, scores.nonmembers)
    return p >= level, estimate, f"before any training: AUC {estimate.value:.3f} (p = {p:.2g})"


def _direction(subject: Subject, attack: Attack, *, level: float) -> ControlOutcome:
    """Ask whether the attack takes non-members for members, which no luck explains."""
    estimate = _auc_of(subject.attacked_by(attack).scores, level=1 - level)
    chance = CHANCE
    if estimate.high < CHANCE:
        chance = chance_of(attack, subject.evidence, seed=subject.seed)
    found = f"AUC {estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
    if estimate.high >= chance:
        return True, estimate, f"{found} is not below {chance:.3g} beyond chance."
    seen = "`seen` inverted, " if "references" in attack.requires else ""
    message = (
        f"{found}, below {chance:.3g} beyond chance: members and non-members may be swapped "
        f"(--data takes MEMBERS first), {seen}the classes in another order than the labels, or the "
        "model answers less surely about its members than about other rows (unlearning, "
        "over-regularized)."
    )
    return False, estimate, message


def _auc_of(scores: Pool[Tensor], *, level: float) -> Estimate:
    interval = auc_interval(scores.members, scores.nonmembers, level=level)
    sizes = len(scores.members), len(scores.nonmembers)
    return Estimate(interval.value, interval.low, interval.high, *sizes)


def _order(subject: Subject, black: Sequence[Attack], white: Sequence[Attack]) -> CheckResult:
    """Return the control of the strongest white-box attack against the black-box ones."""
    try:
        strongest = max(white, key=lambda a: _judged_auc(subject.attacked_by(a))).name
    except FOREIGN:  # the control below reports the error
        strongest = white[0].name
    order = partial(_in_order, subject, black, white)
    name = "control: black-box not above white-box"
    return _control(name, _NOT_ABOVE, order, attack=strongest)


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
