"""`most_exposed` and `newly_exposed`: the members that attacks find, and those new since dense."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from safecompress.checks import Subject, metric_named
from safecompress.errors import FOREIGN
from safecompress.protocols import Attack, AttackResult
from safecompress.verdicts.parts import ExposedMember, ExposedMembers, NewlyExposedMembers

EXPOSED_FPR = 0.01
"""A member is exposed where at most this share of the non-members score as high or higher."""

FEWEST = round(1 / EXPOSED_FPR)
"""Fewest non-members: among fewer, a single one that scores as high is more than that share."""

_SHOWN = 10


def strongest_of(subject: Subject, attacks: Sequence[Attack]) -> AttackResult | None:
    """Return the result of the attack with the largest AUC; None where none can be measured.

    Scores of which members have the lower ones, beyond the interval, are turned round.

    Args:
        subject: the model.
        attacks: the attacks to choose from.
    """
    strongest = _strongest(subject, attacks)
    return None if strongest is None else strongest[1]


def _strongest(subject: Subject, attacks: Sequence[Attack]) -> tuple[Attack, AttackResult] | None:
    results: list[tuple[float, Attack, AttackResult]] = []
    for attack in attacks:
        # Third-party attacks may raise anything; the check of the attack reports the error.
        with suppress(*FOREIGN):
            result = subject.attacked_by(attack)
            if result.is_reversed:
                result = result.turned
            results.append((metric_named("auc").value(result), attack, result))
    return max(results, key=lambda entry: entry[0])[1:] if results else None


def most_exposed(result: AttackResult | None) -> ExposedMembers:
    """Return the members that an attack is surest of.

    Args:
        result: the result of the strongest attack; None where none could be measured.
    """
    if result is None:
        return ExposedMembers(attack="", members=())
    members, rates = result.scores.members, _rates(result)
    places = members.argsort(descending=True, stable=True)[:_SHOWN].tolist()
    ids = result.ids.members
    exposed = (
        ExposedMember(row=int(ids[i]), score=float(members[i]), false_positive_rate=float(rates[i]))
        for i in places
    )
    return ExposedMembers(attack=result.attack, members=tuple(exposed))


def newly_exposed(
    subject: Subject, dense: Subject, attacks: Sequence[Attack]
) -> tuple[NewlyExposedMembers, ...]:
    """Return the members that compression exposed, for attackers with one and with both models.

    Args:
        subject: the compressed model.
        dense: the dense model, on the same rows.
        attacks: the attacks that ran. The strongest that needs the compressed model alone is
            compared with the same attack on the dense model. The strongest that needs both models
            is compared with the strongest attack on the dense model.

    Returns:
        One entry for each of the two comparisons that can be made on enough non-members.
    """
    single = [attack for attack in attacks if "parent" not in attack.requires]
    pairs = [attack for attack in attacks if "parent" in attack.requires]
    comparisons = []
    for group in (single, pairs):
        strongest = _strongest(subject, group)
        if strongest is None:
            continue
        attack, now = strongest
        before = strongest_of(dense, [attack] if group is single else single)
        if before is not None and min(len(r.scores.nonmembers) for r in (now, before)) >= FEWEST:
            comparisons.append(_compared(now, before))
    return tuple(comparisons)


def _compared(judged: AttackResult, dense: AttackResult) -> NewlyExposedMembers:
    """Compare two attacks on the members that both scored."""
    scored = judged.ids.members[torch.isin(judged.ids.members, dense.ids.members)].sort().values
    now, before = (torch.isin(scored, exposed_ids(r)) for r in (judged, dense))
    new = now & ~before
    return NewlyExposedMembers(
        attack=judged.attack,
        dense_attack=dense.attack,
        false_positive_rate=EXPOSED_FPR,
        members=len(scored),
        rate=float(new.double().mean()),
        dense_only_rate=float((before & ~now).double().mean()),
        rows=tuple(scored[new].tolist()),
    )


def exposed_ids(result: AttackResult) -> Tensor:
    """Return the ids of the members that an attack exposes, int64 (m,).

    Args:
        result: its result, with at least `FEWEST` scored non-members.
    """
    return result.ids.members[_rates(result) <= EXPOSED_FPR]


def _rates(result: AttackResult) -> Tensor:
    """Return for each scored member the share of non-members that score as high or higher."""
    others = result.scores.nonmembers.sort().values
    below = torch.searchsorted(others, result.scores.members.contiguous())
    return (len(others) - below).double() / len(others)
