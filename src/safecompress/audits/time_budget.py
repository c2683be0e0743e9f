"""`Budget`, `TimePlan` and `plan_attacks`: the tiers of attacks that fit into a given time."""

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
from safecompress.targets.calling import as_module, fitted
from safecompress.train.predict import predict

_FIRST_BATCH = 512
_CLASSES = 10
_RESERVE = 4.0
"""Seconds kept for the blind baseline, the report and the files."""
_CONTROLS = 4.0
"""Time of an attack's controls and intervals, as a multiple of the attack's own time."""
_CONTROLS_OF_QUERIES = 1.0
"""The same multiple for attacks by queries: their controls query a small model on few rows."""
_QUERY_NUMBER = 7e-8
"""Seconds to compose a query, for each number in it; measured on one core."""


@dataclass(frozen=True)
class Budget:
    """A time limit with its start.

    Args:
        seconds: the limit, in seconds; infinite where there is none.
        started: the start, in seconds of `time.perf_counter`.
    """

    seconds: float
    started: float

    @property
    def left(self) -> float:
        """Seconds that are left; negative after the end."""
        return self.seconds - (time.perf_counter() - self.started)


@dataclass(frozen=True)
class TimePlan:
    """The attacks that run.

    Args:
        attacks: the attacks, cheapest tier first, then the named ones.
        tiers: names of the tiers that run.
        left_out: names of the tiers that would have taken too long.
        missed: those of them that run in every audit without a time limit.
    """

    attacks: tuple[Attack, ...]
    tiers: tuple[str, ...]
    left_out: tuple[str, ...]
    missed: tuple[str, ...] = ()


def require_time_to_ask(
    model: nn.Module | Callable[..., object], rows: Pool[Rows], budget: Budget
) -> None:
    """Time a first batch, and refuse a budget that querying all rows would exceed.

    Args:
        model: the model.
        rows: the rows that it will be queried on.
        budget: the time limit.

    Raises:
        ConfigError: with the time that querying takes.
    """
    if budget.seconds == float("inf"):
        return
    n = len(rows.members) + len(rows.nonmembers)
    module = as_module(model)
    needed = n * _seconds_per_row(module, fitted(module, rows)[0].members)
    if needed + _RESERVE > budget.left:
        raise ConfigError(
            f"time_budget is {budget.seconds:g} s; asking the model about {n} rows alone takes "
            f"about {needed:.0f} s, and the cheapest attacks {_RESERVE:g} s more. Give it more "
            "time, or fewer rows (data.split.rows)."
        )


def _seconds_per_row(model: nn.Module, rows: Rows) -> float:
    """Return how many seconds the model takes for one row, measured on a first batch."""
    batch = rows.take(torch.arange(min(_FIRST_BATCH, len(rows))))
    start = time.perf_counter()
    predict(model, batch)
    return (time.perf_counter() - start) / len(batch)


def plan_attacks(
    subjects: Mapping[str, Subject],
    judged: str,
    budget: Budget,
    *,
    named: Sequence[Attack] = (),
    tiers: tuple[Tier, ...] = TIERS,
) -> TimePlan:
    """Run tier after tier while there is time; subjects cache the results of attacks.

    The time of a tier is estimated from the number of rows and classes, from the time of a query
    where the tier makes queries, and from how much slower than estimated earlier tiers were. The
    first tier always runs. Dear tiers run only with a finite budget, where they fit into it and
    can read the inputs.

    Args:
        subjects: the judged model and those it is compared with, by name.
        judged: name of the judged model.
        budget: the time limit.
        named: attacks that run whatever time they take.
        tiers: the tiers, cheapest first.
    """
    limited, evidence = budget.seconds < float("inf"), subjects[judged].evidence
    slowdown, reserved = 1.0, _RESERVE
    if limited:
        reserved += _CONTROLS * _run(named, subjects)
    named_identities = {identity(attack) for attack in named}
    attacks: list[Attack] = []
    tier_names: list[str] = []
    left_out: list[str] = []
    missed: list[str] = []
    for tier in tiers:
        built = [a for a in attacks_for(tier, evidence) if identity(a) not in named_identities]
        if not built or (tier.dear and not limited):
            continue
        estimate = len(subjects) * len(built) * _seconds(tier, evidence)
        controls = _CONTROLS_OF_QUERIES if tier.queries else _CONTROLS
        if attacks and (1 + controls) * estimate * slowdown > budget.left - reserved:
            left_out.append(tier.name)
            missed += [] if tier.dear else [tier.name]
            continue
        if limited:
            elapsed = _run(built, subjects)
            slowdown, reserved = max(slowdown, elapsed / estimate), reserved + controls * elapsed
        if tier.dear:
            built = [attack for attack in built if _decides(attack, subjects[judged])]
        if built:
            attacks += built
            tier_names.append(tier.name)
    return TimePlan((*attacks, *named), tuple(tier_names), tuple(left_out), tuple(missed))


def _seconds(tier: Tier, evidence: Pool[Evidence]) -> float:
    """Return the estimated seconds of one attack of a tier on one model."""
    members, others = evidence.members, evidence.nonmembers
    n, rows, target = len(members.outputs) + len(others.outputs), members.rows, members.target
    seconds = tier.seconds + tier.per_row * n * members.outputs.classes / _CLASSES
    if not tier.queries or rows is None or target is None:
        return seconds
    numbers = sum(tensor[0].numel() for tensor in tensors_of(rows.inputs))
    return seconds + n * tier.queries * (_seconds_per_row(target, rows) + _QUERY_NUMBER * numbers)


def _decides(attack: Attack, subject: Subject) -> bool:
    """Return whether an attack can decide on these inputs.

    An attack that the user did not name is dropped otherwise, so that it does not make the verdict
    inconclusive.
    """
    try:
        subject.attacked_by(attack)
    except SafeCompressError as error:
        # The check of the attack reports any other error.
        return not isinstance(error, UndecidableError)
    return True


def _run(attacks: Sequence[Attack], subjects: Mapping[str, Subject]) -> float:
    start = time.perf_counter()
    for attack in attacks:
        for subject in subjects.values():
            try:
                subject.attacked_by(attack)
            except SafeCompressError:
                # The check of the attack reports the error.
                continue
    return time.perf_counter() - start
