"""Which members an attack gives away, and which of them the dense model did not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from safecompress.checks import Subject, metric_named
from safecompress.protocols import Attack, AttackResult
from safecompress.verdicts.parts import ExposedMember, ExposedMembers, NewlyExposedMembers

EXPOSED_FPR = 0.01
"""A member is exposed where at most this share of the non-members score as high or higher."""

_FEWEST = round(1 / EXPOSED_FPR)
"""Non-members; of fewer, none may score as high."""

_SHOWN = 10


def strongest_of(subject: Subject, attacks: Sequence[Attack]) -> AttackResult | None:
    """Return the result of the attack with the largest AUC; None where none can be measured."""
    strongest = _strongest(subject, attacks)
    return None if strongest is None else strongest[1]


def _strongest(subject: Subject, attacks: Sequence[Attack]) -> tuple[Attack, AttackResult] | None:
    found: list[tuple[float, Attack, AttackResult]] = []
    for attack in attacks:
        # What an attack cannot do, or third-party code breaks at, stands in its own check.
        with suppress(Exception):
            result = subject.attacked_by(attack)
            found.append((metric_named("auc").value(result), attack, result))
    return max(found, key=lambda one: one[0])[1:] if found else None


def most_exposed(result: AttackResult | None) -> ExposedMembers:
    """Return the members that an attack is surest of.

    Args:
        result: what the strongest attack said; None where none could be measured.
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
    """Return whom compression exposed: by the strongest attack, and by who holds both models.

    Args:
        subject: the compressed model.
        dense: the dense one, on the same rows.
        attacks: those that ran. The strongest on the compressed model is held against itself on
            the dense one; what needs the parent, against the strongest on the dense one.
    """
    single = [attack for attack in attacks if "parent" not in attack.requires]
    pairs = [attack for attack in attacks if "parent" in attack.requires]
    found = []
    for group in (single, pairs):
        strongest = _strongest(subject, group)
        if strongest is None:
            continue
        attack, ours = strongest
        theirs = strongest_of(dense, [attack] if group is single else single)
        if theirs is not None and min(len(r.scores.nonmembers) for r in (ours, theirs)) >= _FEWEST:
            found.append(_compared(ours, theirs))
    return tuple(found)


def _compared(ours: AttackResult, theirs: AttackResult) -> NewlyExposedMembers:
    """Compare two attacks on the members that both scored."""
    scored = ours.ids.members[torch.isin(ours.ids.members, theirs.ids.members)].sort().values
    now, before = (torch.isin(scored, _exposed_ids(r)) for r in (ours, theirs))
    new = now & ~before
    return NewlyExposedMembers(
        attack=ours.attack,
        dense_attack=theirs.attack,
        false_positive_rate=EXPOSED_FPR,
        members=len(scored),
        rate=float(new.double().mean()),
        dense_only_rate=float((before & ~now).double().mean()),
        rows=tuple(scored[new].tolist()),
    )


def _exposed_ids(result: AttackResult) -> Tensor:
    return result.ids.members[_rates(result) <= EXPOSED_FPR]


def _rates(result: AttackResult) -> Tensor:
    """Return for each scored member the share of non-members that score as high or higher."""
    others = result.scores.nonmembers.sort().values
    below = torch.searchsorted(others, result.scores.members.contiguous())
    return (len(others) - below).double() / len(others)
