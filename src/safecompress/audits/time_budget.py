"""An audit that has to end in time: the strongest tiers of attacks that fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from safecompress.audits.suite import TIERS, Tier, attacks_for
from safecompress.checks import Subject
from safecompress.errors import ConfigError, SafeCompressError, UndecidableError
from safecompress.protocols import Attack, Evidence, Pool, Rows, tensors_of
from safecompress.registry.identity import identity
from safecompress.targets.record import as_module
from safecompress.train.predict import predict

_FIRST = 512
_CLASSES = 10
_REST = 4.0
"""Seconds kept for the blind baseline, the report and the files."""
_CONTROLS = 4.0
"""What follows an attack that has run: its controls and intervals, in times of what it took."""
_CONTROLS_OF_ASKING = 1.0
"""The same of one that asks the model: its controls ask a small imaginary one about few rows."""
_QUESTION = 7e-8
"""Seconds it takes to make up a question, for each number in it; measured on one core."""


@dataclass(frozen=True)
class Budget:
    """A length of time that began at a moment.

    Args:
        seconds: its length; infinite where there is no hurry.
        started: the moment, on the clock of `time.perf_counter`.
    """

    seconds: float
    started: float

    @property
    def left(self) -> float:
        """Seconds that are left, less than 0 where it is over."""
        return self.seconds - (time.perf_counter() - self.started)


@dataclass(frozen=True)
class TimePlan:
    """Which attacks run.

    Args:
        attacks: those, cheapest tier first.
        tiers: names of the tiers they are from.
        left_out: names of the tiers that would have taken too long.
    """

    attacks: tuple[Attack, ...]
    tiers: tuple[str, ...]
    left_out: tuple[str, ...]


def require_time_to_ask(
    model: nn.Module | Callable[..., object], rows: Pool[Rows], budget: Budget
) -> None:
    """Ask about a first batch, and refuse a budget that all the rows would exceed.

    Raises:
        ConfigError: naming the time that asking takes.
    """
    if budget.seconds == float("inf"):
        return
    n = len(rows.members) + len(rows.nonmembers)
    needed = n * _answer(as_module(model), rows.members)
    if needed + _REST > budget.left:
        raise ConfigError(
            f"time_budget is {budget.seconds:g} s; asking the model about {n} rows alone takes "
            f"about {needed:.0f} s, and the cheapest attacks {_REST:g} s more. Give it more time, "
            "or fewer rows (data.split.rows)."
        )


def _answer(model: nn.Module, rows: Rows) -> float:
    """Return how many seconds the model takes for a row, of a first batch."""
    first = rows.take(torch.arange(min(_FIRST, len(rows))))
    began = time.perf_counter()
    predict(model, first)
    return (time.perf_counter() - began) / len(first)


def plan_attacks(
    subjects: Mapping[str, Subject],
    judged: str,
    budget: Budget,
    *,
    named: Sequence[Attack] = (),
    tiers: tuple[Tier, ...] = TIERS,
) -> TimePlan:
    """Run tier after tier while there is time; a subject keeps what its attacks found.

    What a tier will take is estimated from its rows and classes, from how long the model takes to
    answer where it is asked, and from how much slower than estimated the tiers before it were. The
    first tier always runs. Without a budget dear tiers do not; with one they do where they fit and
    find inputs that they can read.

    Args:
        subjects: the judged model and what it is compared with.
        judged: its name.
        budget: the time there is.
        named: attacks that run whatever time they take.
        tiers: the tiers, cheapest first.
    """
    hurried, evidence = budget.seconds < float("inf"), subjects[judged].evidence
    pace, owed = 1.0, _REST
    if hurried:
        owed += _CONTROLS * _run(named, subjects)
    asked_for = {identity(attack) for attack in named}
    attacks: list[Attack] = []
    ran: list[str] = []
    left_out: list[str] = []
    for tier in tiers:
        built = [a for a in attacks_for(tier, evidence) if identity(a) not in asked_for]
        if not built or (tier.dear and not hurried):
            continue
        estimate = len(subjects) * len(built) * _seconds(tier, evidence)
        after = _CONTROLS_OF_ASKING if tier.queries else _CONTROLS
        if attacks and (1 + after) * estimate * pace > budget.left - owed:
            left_out.append(tier.name)
            continue
        if hurried:
            took = _run(built, subjects)
            pace, owed = max(pace, took / estimate), owed + after * took
        if tier.dear:
            built = [attack for attack in built if _decides(attack, subjects[judged])]
        if built:
            attacks += built
            ran.append(tier.name)
    return TimePlan((*attacks, *named), tuple(ran), tuple(left_out))


def _seconds(tier: Tier, evidence: Pool[Evidence]) -> float:
    """Return what one attack of a tier should take on one model."""
    members, others = evidence.members, evidence.nonmembers
    n, rows, target = len(members.outputs) + len(others.outputs), members.rows, members.target
    seconds = tier.seconds + tier.per_row * n * members.outputs.classes / _CLASSES
    if not tier.queries or rows is None or target is None:
        return seconds
    numbers = sum(tensor[0].numel() for tensor in tensors_of(rows.inputs))
    return seconds + n * tier.queries * (_answer(target, rows) + _QUESTION * numbers)


def _decides(attack: Attack, subject: Subject) -> bool:
    """Return whether an attack can read these inputs; what nobody asked for need not decide."""
    try:
        subject.attacked_by(attack)
    except SafeCompressError as error:
        # Of anything else its check will tell.
        return not isinstance(error, UndecidableError)
    return True


def _run(attacks: Sequence[Attack], subjects: Mapping[str, Subject]) -> float:
    began = time.perf_counter()
    for attack in attacks:
        for subject in subjects.values():
            try:
                subject.attacked_by(attack)
            except SafeCompressError:
                # Its check will say so.
                continue
    return time.perf_counter() - began
