"""Which members an attack gives away, and which of them the dense model did not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from safecompress.checks import Subject, metric_named
from safecompress.protocols import Attack, AttackResult

EXPOSED_FPR = 0.01
"""A member is exposed where at most this share of the non-members score as high or higher."""

_FEWEST = round(1 / EXPOSED_FPR)
"""Non-members; of fewer, none may score as high."""

_SHOWN = 10


@dataclass(frozen=True)
class ExposedMember:
    """A member that the strongest attack is surest of.

    Args:
        row: its number in the source the rows are from; its place among the members, from 0, where
            they were given as members and non-members.
        score: the attack's score.
        false_positive_rate: share of the non-members that score as high or higher, in [0, 1].
    """

    row: int
    score: float
    false_positive_rate: float


@dataclass(frozen=True)
class NewlyExposedMembers:
    """The members that an attack exposes on the compressed model and another does not on the dense.

    Args:
        attack: on the compressed model.
        dense_attack: on the dense model; the same, or the strongest where that needs both models.
        false_positive_rate: share of the non-members that may be taken for members, in (0, 1).
        members: members that were scored.
        rate: share of them that is newly exposed, in [0, 1]; chance alone reaches about
            `false_positive_rate`.
        dense_only_rate: share exposed by the dense model and no longer by the compressed one.
        rows: the newly exposed members' ids.
    """

    attack: str
    dense_attack: str
    false_positive_rate: float
    members: int
    rate: float
    dense_only_rate: float
    rows: tuple[int, ...]


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


def most_exposed(
    subject: Subject, attacks: Sequence[Attack]
) -> tuple[str, tuple[ExposedMember, ...]]:
    """Return the strongest attack's name and the members it is surest of."""
    result = strongest_of(subject, attacks)
    if result is None:
        return "", ()
    members, rates = result.scores.members, _rates(result)
    places = members.argsort(descending=True, stable=True)[:_SHOWN].tolist()
    ids = result.ids.members
    exposed = (ExposedMember(int(ids[i]), float(members[i]), float(rates[i])) for i in places)
    return result.attack, tuple(exposed)


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


def newly_exposed_document(found: Sequence[NewlyExposedMembers]) -> list[dict[str, Any]]:
    """Return what stands in `verdict.json`."""
    return [asdict(one) for one in found]


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
