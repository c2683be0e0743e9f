"""An audit that has to end in time: the strongest tiers of attacks that fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from safecompress.checks import Subject
from safecompress.errors import ConfigError, SafeCompressError
from safecompress.protocols import Attack, Pool, Rows
from safecompress.record import as_module
from safecompress.suites import TIERS, Tier, attacks_for
from safecompress.train.predict import predict

_FIRST = 512
_CLASSES = 10
_REST = 4.0
"""Seconds kept for the blind baseline, the report and the files."""
_CONTROLS = 4.0
"""What follows an attack that has run: its controls and intervals, in times of what it took."""


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
class Plan:
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
    first = rows.members.take(torch.arange(min(_FIRST, len(rows.members))))
    began = time.perf_counter()
    predict(as_module(model), first)
    needed = (time.perf_counter() - began) * n / len(first)
    if needed + _REST > budget.left:
        raise ConfigError(
            f"time_budget is {budget.seconds:g} s; asking the model about {n} rows alone takes "
            f"about {needed:.0f} s, and the cheapest attacks {_REST:g} s more. Give it more time, "
            "or fewer rows (data.split.rows)."
        )


def plan_attacks(
    subjects: Mapping[str, Subject], judged: str, budget: Budget, *, tiers: tuple[Tier, ...] = TIERS
) -> Plan:
    """Run tier after tier while there is time; a subject keeps what its attacks found.

    What a tier will take is estimated from its rows and classes, and from how much slower than
    estimated the tiers before it were. The first tier always runs.

    Args:
        subjects: the judged model and what it is compared with.
        judged: its name.
        budget: the time there is.
        tiers: the tiers, cheapest first.
    """
    outputs = subjects[judged].outputs
    size = (len(outputs.members) + len(outputs.nonmembers)) * outputs.members.classes / _CLASSES
    pace, owed = 1.0, _REST
    attacks: list[Attack] = []
    ran: list[str] = []
    left_out: list[str] = []
    for tier in tiers:
        built = attacks_for(tier, subjects[judged].evidence)
        if not built:
            continue
        estimate = len(subjects) * len(built) * (tier.seconds + tier.per_row * size)
        if attacks and (1 + _CONTROLS) * estimate * pace > budget.left - owed:
            left_out.append(tier.name)
            continue
        if budget.seconds < float("inf"):
            took = _run(built, subjects)
            pace, owed = max(pace, took / estimate), owed + _CONTROLS * took
        attacks += built
        ran.append(tier.name)
    return Plan(tuple(attacks), tuple(ran), tuple(left_out))


def _run(attacks: list[Attack], subjects: Mapping[str, Subject]) -> float:
    began = time.perf_counter()
    for attack in attacks:
        for subject in subjects.values():
            try:
                subject.attacked_by(attack)
            except SafeCompressError:
                # Its check will say so.
                continue
    return time.perf_counter() - began
