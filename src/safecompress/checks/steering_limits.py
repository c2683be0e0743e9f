"""`SteeringLimits`: the limits of a suite as the loop measures them, on the steering rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from safecompress.checks.check import Check
from safecompress.checks.group_leak import GroupLeak
from safecompress.checks.margins import LimitMargin
from safecompress.checks.measures import AttackMeasure, Measure
from safecompress.checks.subject import Subject
from safecompress.errors import MissingEvidenceError, UndecidableError, blaming
from safecompress.protocols import Attack
from safecompress.registry.identity import identity

_NEEDS = "references"


@dataclass(frozen=True)
class SteeringLimits:
    """Limits that can be measured of every candidate.

    Args:
        checks: the limits, each with a measure that the loop can compute.
        notes: a sentence for each limit that another measure stands for, or that has no part in
            the search.
    """

    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def requires(self) -> frozenset[str]:
        """Fields of the evidence that the measures need besides `outputs`."""
        return frozenset().union(*(check.measure.requires for check in self.checks))

    @property
    def relative(self) -> bool:
        """Whether a limit is relative to the dense model."""
        return any(check.condition.relative for check in self.checks)

    def margins(
        self, subject: Subject, dense: Subject | None, *, level: float
    ) -> tuple[LimitMargin, ...]:
        """Return by how much a candidate keeps every limit; unknown where it cannot be measured.

        Args:
            subject: the candidate.
            dense: the dense model on the same rows; None without one.
            level: confidence level of the intervals, in (0, 1).

        Raises:
            PartError: when a measure of another package raises what no part may raise.
        """
        return tuple(_margin(check, subject, dense, level=level) for check in self.checks)


def _margin(check: Check, subject: Subject, dense: Subject | None, *, level: float) -> LimitMargin:
    try:
        with blaming(check.measure, f"verdict.checks: the measure '{check.measure.name}'"):
            return LimitMargin.of(check, check.measured(subject, dense, level=level))
    except (MissingEvidenceError, UndecidableError):
        return LimitMargin.unknown(check)


def steering_limits(
    checks: Sequence[Check],
    *,
    available: frozenset[str],
    stand_in: Attack | None,
    relative: bool,
) -> SteeringLimits:
    """Return limits as the loop measures them.

    The loop has no shadow models. An attack that compares with reference models is represented by
    one that needs only those which the loop has; without any, its limit has no part in the search.

    Args:
        checks: the limits of the verdict.
        available: fields of the evidence, besides `outputs` and `references`, that the loop has.
        stand_in: the attack that stands for those with reference models; None where the loop has
            no references.
        relative: whether there is a dense model to compare with.
    """
    kept: dict[object, Check] = {}
    notes = []
    for check in checks:
        if check.condition.relative and not relative:
            notes.append(f"'{check.name}' has no part in the search: there is no dense model.")
            continue
        measure = _with_stand_in(check.measure, stand_in)
        missing = sorted((frozenset({_NEEDS}) if measure is None else measure.requires) - available)
        if stand_in is not None and measure is not None:
            missing = [need for need in missing if need not in stand_in.requires]
        if measure is None or missing:
            notes.append(
                f"'{check.name}' has no part in the search, which lacks {', '.join(missing)}."
            )
            continue
        if measure is not check.measure and stand_in is not None:
            notes.append(f"'{check.name}' is represented in the search by {stand_in.name}.")
        # Two attacks that one stands for would otherwise count twice.
        kept.setdefault((identity(measure), check.condition), replace(check, measure=measure))
    return SteeringLimits(tuple(kept.values()), tuple(notes))


def _with_stand_in(measure: Measure, stand_in: Attack | None) -> Measure | None:
    """Return a measure whose attacks the loop can run; None where it cannot run any of them."""
    if not any(_NEEDS in attack.requires for attack in measure.uses_attacks):
        return measure
    if isinstance(measure, AttackMeasure):
        if stand_in is None or identity(measure.attack) == identity(stand_in):
            return None if stand_in is None else measure
        return replace(measure, attack=stand_in)
    if isinstance(measure, GroupLeak):
        attacks: dict[object, Attack] = {}
        for attack in measure.attacks:
            used = stand_in if _NEEDS in attack.requires else attack
            if used is not None:
                attacks.setdefault(identity(used), used)
        return replace(measure, attacks=tuple(attacks.values())) if attacks else None
    return None
