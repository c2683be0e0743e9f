"""`TASK_TIERS`, `task_suite` and what is refused: audits of regression and multi-label models.

Their attacks read one signal, the loss of a row and what reference models' losses say of it.
Attacks that read answers of classes have no meaning there and do not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safecompress.attacks import ATTACKS
from safecompress.audits.suite import TIERS, Limits, Tier, group_limit_checks, limit_checks
from safecompress.checks import Suite
from safecompress.data import RecordedOutputs
from safecompress.data.predictions import TASKS
from safecompress.errors import ConfigError
from safecompress.protocols import Attack
from safecompress.registry.identity import identity

_OF_LOSSES = ("a neural attack", "reference attacks")
TASK_TIERS = (
    Tier("the loss attack", ("loss",), 0.01, 3e-6),
    Tier("an attack on each output alone", ("per-output",), 0.05, 5e-5),
    *(tier for tier in TIERS if tier.name in _OF_LOSSES),
)
"""Attacks whose signal is the loss of a row or of each of its outputs, cheapest first."""

IN_AND_OUT = (
    "an audit of it runs the attacks loss, neural, per-output, LiRA and RMIA on recorded "
    "predictions; classes and named groups, a baseline, a full model, white-box and other attacks, "
    "and standards are for models that choose one of several classes"
)


def is_other_task(recorded: RecordedOutputs) -> bool:
    """Return whether outputs stand for losses of regression or of several labels at once.

    Args:
        recorded: the outputs.
    """
    return recorded.kind in TASKS


def refuse_for_task(
    recorded: RecordedOutputs, asked: Mapping[str, bool], limits: Limits, named: Sequence[Attack]
) -> None:
    """Refuse what has no meaning for the task.

    Args:
        recorded: the outputs.
        asked: by the name of an argument, whether it was given.
        limits: the limits to keep.
        named: attacks that the user named.

    Raises:
        ConfigError: naming what was asked for, what is in and what is out.
    """
    of_losses = {
        identity(ATTACKS.build(request, where="audit"))
        for tier in TASK_TIERS
        for request in tier.attacks
    }
    wrong = [name for name, given in asked.items() if given]
    wrong += [f"attack {attack.name}" for attack in named if identity(attack) not in of_losses]
    wrong += ["standard"] * (limits.standard is not None)
    if wrong:
        raise ConfigError(
            f"{recorded.path}: {wrong[0]} does not go with a {recorded.kind} model; {IN_AND_OUT}."
        )


def refuse_together(files: Sequence[RecordedOutputs], what: str) -> None:
    """Refuse to compare models where one of them is of such a task.

    Args:
        files: the models' outputs.
        what: what they would be compared for.

    Raises:
        ConfigError: naming the model, what is in and what is out.
    """
    for recorded in files:
        if is_other_task(recorded):
            raise ConfigError(
                f"{recorded.path}: {what} does not go with a {recorded.kind} model; {IN_AND_OUT}."
            )


def task_suite(limits: Limits, *, attacks: Sequence[Attack], groups: Sequence[str]) -> Suite:
    """Return the checks of an audit of such a model.

    Args:
        limits: the bounds.
        attacks: the attacks.
        groups: attributes within whose groups the model is judged.
    """
    within = group_limit_checks(limits, attacks, by=groups)
    return Suite((*limit_checks(limits, attacks), *within))
