"""`leaks_by_signals`, `blind_spot`: what each kind of attack finds, and what the search missed.

A model that was chosen by attacks of one kind is safest to that kind. Where another kind finds
clearly more, the choice has moved the leak to where it did not look.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.checks.check import CheckResult
from safecompress.checks.conditions import Status
from safecompress.checks.metrics import Auc
from safecompress.checks.subject import Stopwatch, Subject
from safecompress.errors import FOREIGN
from safecompress.protocols import Attack, AttackResult, Estimate, Pool
from safecompress.stats import Interval, auc_difference, corrected_level

NAME = "blind spot"
MOST = 0.03
"""AUC by which an attack of a kind that did not steer may exceed the strongest that did."""


@dataclass(frozen=True)
class SignalLeak:
    """What the strongest attack of one kind finds.

    Args:
        signals: the kind, one of `SIGNALS`; empty for attacks that declare none.
        result: the attack's result, scores turned round where members have the lower ones.
        auc: its AUC with its interval.
        steered: whether attacks of this kind had a part in choosing the model.
    """

    signals: str
    result: AttackResult
    auc: Interval
    steered: bool


def leaks_by_signals(
    subject: Subject, attacks: Sequence[Attack], *, steered: frozenset[str], level: float
) -> tuple[SignalLeak, ...]:
    """Return what the strongest attack of each kind finds, the kind that finds most first.

    Args:
        subject: the model.
        attacks: the attacks; those that cannot be measured are left out.
        steered: the kinds of attacks by which the model was chosen.
        level: confidence level of the intervals, in (0, 1).
    """
    strongest: dict[str, SignalLeak] = {}
    for attack in attacks:
        with suppress(*FOREIGN):  # an attack's own check reports what it raises
            result = subject.attacked_by(attack)
            result = result.turned if result.is_reversed else result
            auc = Auc().interval(result, level=level)
            found = SignalLeak(attack.signals, result, auc, attack.signals in steered)
            known = strongest.get(attack.signals)
            if known is None or known.auc.value < auc.value:
                strongest[attack.signals] = found
    return tuple(sorted(strongest.values(), key=lambda leak: -leak.auc.value))


def blind_spot(leaks: Sequence[SignalLeak], *, level: float) -> CheckResult | None:
    """Return whether a kind of attack that did not steer finds clearly more than those that did.

    Both are compared on the rows that both scored. The level is corrected for the number of kinds
    of which the strongest were taken.

    Args:
        leaks: what attacks of each kind find, as `leaks_by_signals` returns it.
        level: confidence level, in (0, 1).

    Returns:
        A WARN where the difference is above .03 and its interval above 0, otherwise a PASS; None
        where nothing steered, or nothing else was measured.
    """
    watch = Stopwatch()
    own = next((leak for leak in leaks if leak.steered), None)
    other = next((leak for leak in leaks if not leak.steered), None)
    if own is None or other is None:
        return None
    at = corrected_level(level, len(leaks))
    first, second = _shared(other.result, own.result), _shared(own.result, other.result)
    gap = auc_difference(
        first.members, first.nonmembers, second.members, second.nonmembers, level=at
    )
    blind = gap.value > MOST and gap.low > 0
    steered = " and ".join(f"'{leak.signals}'" for leak in leaks if leak.steered)
    message = (
        f"{other.result.attack}, which reads '{other.signals or 'undeclared'}', finds "
        f"{other.auc.value:.3f}; the strongest attack of the kinds that steered ({steered}), "
        f"{own.result.attack}, finds {own.auc.value:.3f}"
    )
    return CheckResult(
        NAME,
        Status.WARN if blind else Status.PASS,
        critical=False,
        condition=f"AUC at most {MOST:g} above that of attacks that steered",
        estimate=Estimate(gap.value, gap.low, gap.high, len(first.members), len(first.nonmembers)),
        seconds=watch.seconds,
        message=message,
        attack=other.result.attack,
        advice=_advice(other.signals) if blind else "",
        leak=True,
    )


def _advice(signals: str) -> str:
    return (
        f"Let an attack that reads '{signals or 'undeclared'}' steer as well (steer.attacks, or "
        "steer.measures with teachers.judges), so that the search cannot move the leak there."
    )


def _shared(result: AttackResult, other: AttackResult) -> Pool[Tensor]:
    """Return an attack's scores of the rows that another one scored, too, in the order of ids."""

    def of(scored: tuple[Tensor, Tensor], others: Tensor) -> Tensor:
        ids, scores = scored
        kept = torch.isin(ids, others)
        return scores[kept][torch.argsort(ids[kept], stable=True)]

    paired = result.ids.zip(result.scores, lambda ids, scores: (ids, scores))
    return paired.zip(other.ids, of)
