"""A pair of models, the small one out in the world: what it gives away about the full one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import InUnits
from safecompress.checks import Check, QuerySavingMeasure, TransferRate, at_most
from safecompress.data import Recorded
from safecompress.errors import ModelError, SafeCompressError, UsageError
from safecompress.models.adapt import call
from safecompress.protocols import NORMS, InputRange, Rows
from safecompress.similarity import Similarity, similarity
from safecompress.train.predict import mode, predict

STILL = (
    "What both say of the same rows can still be compared: name the full model as the baseline "
    "(--baseline)."
)
_ROWS = 500


@dataclass(frozen=True)
class Against:
    """A pair that was found fit to be measured.

    Args:
        recorded: what the small model said, its evidence holding the full one as well.
        similarity: how alike the two are on rows that neither was trained on.
    """

    recorded: Recorded
    similarity: Similarity


def pair(
    small: Recorded,
    full: nn.Module | Callable[..., Any],
    *,
    where: str,
    span: InputRange | None,
    level: float,
    seed: int,
) -> Against:
    """Return a small model's evidence with the full model in it, and how alike they are.

    Args:
        small: what is recorded of it; its evidence holds the rows and the model.
        full: the model that may be attacked.
        where: names the full model in messages.
        span: range of the models' inputs; None takes what the rows span.
        level: confidence level of the intervals.
        seed: of the resampling.

    Raises:
        UsageError: naming all that keeps the pair from being measured, and what can be.
    """
    evidence = small.evidence.nonmembers
    problems = _problems(small, full)
    if problems or evidence.rows is None or not isinstance(full, nn.Module):
        raise UsageError(f"against: {small.path} and {where}: {'; '.join(problems)}. {STILL}")
    _require_guessing_right(small, full, where)
    rows = evidence.rows.take(torch.arange(min(_ROWS, len(evidence.rows))))
    inputs = rows.inputs
    if not isinstance(inputs, Tensor) or not isinstance(evidence.target, nn.Module):
        raise UsageError(f"against: {small.path}: its rows are no single tensor. {STILL}")
    units = span or InputRange.of_rows(inputs)
    found = similarity(
        InUnits(full, units),
        InUnits(evidence.target, units),
        units.units(inputs),
        rows.labels,
        level=level,
        seed=seed,
    )
    held = small.evidence.map(lambda e: replace(e, parent_target=full, span=span))
    return Against(replace(small, evidence=held), found)


def pair_checks(max_transfer: float, max_saving: float) -> tuple[Check, ...]:
    """Return the checks of a pair: transfer in both norms, and the questions saved.

    Args:
        max_transfer: most that the transfer rate may be, in [0, 1].
        max_saving: most that the query saving may be; a failure is a warning.
    """
    checks = []
    for norm in NORMS:
        measure = TransferRate(norm=norm)
        condition = at_most(max_transfer)
        checks.append(Check(f"{measure.name} {condition}", measure, condition))
    saving, bound = QuerySavingMeasure(norm="l2", rows=50, budget=1_000), at_most(max_saving)
    checks.append(Check(f"{saving.name} {bound}", saving, bound, critical=False))
    return tuple(checks)


def _problems(small: Recorded, full: object) -> list[str]:
    """Return all that keeps a pair from being measured."""
    evidence = small.evidence.nonmembers
    problems = []
    if evidence.rows is None or evidence.target is None:
        return ["only outputs of the small model are known, and points are crafted on the model"]
    rows = evidence.rows
    if not isinstance(rows.inputs, Tensor) or not rows.inputs.is_floating_point():
        problems.append("the inputs are not one tensor of real numbers, and words have no gradient")
        return problems
    if not isinstance(full, nn.Module):
        problems.append(f"the full model is a {type(full).__name__}, no torch.nn.Module")
    for name, model in (("small", evidence.target), ("full", full)):
        if isinstance(model, nn.Module) and (problem := _unfit(model, rows, small)):
            problems.append(f"the {name} model {problem}")
    return problems


def _unfit(model: nn.Module, rows: Rows, small: Recorded) -> str:
    """Return what is wrong with one of the models on these rows, or nothing."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    x = rows.take(torch.arange(min(2, len(rows)))).inputs
    if not isinstance(x, Tensor):
        return "takes no single tensor"
    x = x.to(device).detach().requires_grad_()
    try:
        with mode(model, training=False), torch.enable_grad():
            logits = call(model, x)
    except (SafeCompressError, RuntimeError, ValueError, TypeError) as error:
        told = " ".join(str(error).split())[:160]
        shape = tuple(x.shape[1:])
        return f"fails on inputs of shape {shape}, which the other takes: {told}"
    wanted = small.outputs.members.classes
    if logits.shape[1:] != (wanted,):
        return f"has {tuple(logits.shape[1:])} classes, the other {wanted}"
    if not logits.requires_grad:
        return "gives no gradients (an ONNX graph, or integer arithmetic)"
    (gradient,) = torch.autograd.grad(logits.sum(), x, allow_unused=True)
    return "" if gradient is not None else "lets no gradient reach its inputs"


def _require_guessing_right(small: Recorded, full: nn.Module, where: str) -> None:
    """Refuse a full model that is no better than chance on these rows: another preprocessing.

    Raises:
        ModelError: naming its accuracy.
    """
    rows = small.evidence.nonmembers.rows
    if rows is None:
        return
    said = predict(full, rows)
    right = float(said.correct.double().mean())
    if right <= 1.5 / said.classes:
        raise ModelError(
            f"against: {where} is right on {right:.1%} of {len(rows)} rows that the small model "
            f"takes, with {said.classes} classes no better than guessing: it was trained with "
            f"another preprocessing or other labels. {STILL}"
        )
