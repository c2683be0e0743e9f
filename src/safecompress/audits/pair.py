"""A pair of models, the small one out in the world: what it gives away about the full one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import Space, gives_gradients, space_of
from safecompress.checks import Check, QuerySavingMeasure, TransferRate, at_most
from safecompress.checks.similarity import Probe, Similarity, compared
from safecompress.data import RecordedOutputs, are_probabilities
from safecompress.errors import ModelError, SafeCompressError, UsageError
from safecompress.models.adapt import call
from safecompress.protocols import NORMS, InputRange, Rows, map_inputs, tensors_of
from safecompress.targets.record import LogitModel, as_module
from safecompress.train.predict import mode, predict

STILL = (
    "What both say of the same rows can still be compared: name the full model as the baseline "
    "(--baseline). In Python, safecompress.checks.similarity measures label agreement and "
    "Jensen–Shannon divergence of any logits, and linear CKA of any features."
)
_ROWS, _TEXT_ROWS = 500, 100


@dataclass(frozen=True)
class TransferPair:
    """A pair that was found fit to be measured.

    Args:
        recorded: what the small model said, its evidence holding the full one as well.
        similarity: how alike the two are on rows that neither was trained on.
        checks: what is asked of the pair.
        left_out: what could not be measured and why, in words; empty where everything could.
    """

    recorded: RecordedOutputs
    similarity: Similarity
    checks: tuple[Check, ...]
    left_out: str


def pair(
    small: RecordedOutputs,
    full: nn.Module | Callable[..., Any],
    *,
    where: str,
    span: InputRange | None,
    max_transfer: float,
    max_saving: float,
    level: float,
    seed: int,
) -> TransferPair:
    """Return a small model's evidence with the full model in it, how alike they are, and checks.

    Points are crafted on the small model, so its gradients count; the full one may be any callable
    that answers. What a model without gradients leaves open is said in `left_out`. Text needs both
    models' embedding layers; `space_of` says what its points mean.

    Args:
        small: what is recorded of it; its evidence holds the rows and the model.
        full: the model that may be attacked.
        where: names the full model in messages.
        span: range of the models' inputs; None takes what the rows span.
        max_transfer: most that the transfer rate may be, in [0, 1].
        max_saving: most that the query saving may be; a failure is a warning.
        level: confidence level of the intervals.
        seed: of the resampling.

    Raises:
        UsageError: naming all that keeps the pair from being measured, and what can be.
    """
    evidence, both = small.evidence.nonmembers, f"against: {small.path} and {where}"
    rows, target = evidence.rows, evidence.target
    if rows is None or target is None:
        raise UsageError(
            f"{both}: only outputs of the small model are known, and points are crafted on the "
            f"model. {STILL}"
        )
    models = {"small": target, "full": as_module(full)}
    problems = [
        f"the {name} model {problem}"
        for name, model in models.items()
        if (problem := _unfit(model, rows, small))
    ]
    if problems:
        raise UsageError(f"{both}: {'; '.join(problems)}. {STILL}")
    models = {name: _in_logits(model, rows) for name, model in models.items()}
    try:
        space = space_of(models["full"], models["small"], rows.inputs, span=span)
    except SafeCompressError as error:
        raise ModelError(f"{both}: {error}. {STILL}") from error
    few = rows.take(torch.arange(min(_TEXT_ROWS if space.text else _ROWS, len(rows))))
    x = space.points(few.inputs)
    _require_guessing_right(space, x, few.labels, where, small)
    climbs = {n: gives_gradients(getattr(space, n), x) for n in models}
    if space.text and not all(climbs.values()):
        shut = " and ".join(name for name, able in climbs.items() if not able)
        raise ModelError(f"{both}: no gradient of the {shut} model reaches its embeddings. {STILL}")
    shown = [
        Probe.by(model, x, few.labels, batch_size=space.at_once, whole=False)
        for model in (space.full, space.small)
    ]
    found = compared(shown[0], shown[1], level=level, seed=seed)
    held = small.evidence.map(
        lambda e: replace(e, target=models["small"], parent_target=models["full"], span=span)
    )
    checks = pair_checks(max_transfer, max_saving, guided=climbs["small"], text=space.text)
    left_out = _left_out(climbs, found, text=space.text)
    return TransferPair(replace(small, evidence=held), found, checks, left_out)


def _left_out(climbs: dict[str, bool], found: Similarity, *, text: bool) -> str:
    """Say what of a pair was not measured, and why."""
    said = []
    if text:
        said.append(
            "query saving: questions are asked in tokens, and points of text are embeddings, "
            "looked up in the full model's table, which stand for no text that could be read"
        )
    lacking = " and ".join(f"the {name} model" for name, able in climbs.items() if not able)
    if lacking:
        said.append(f"the cosine of input gradients: {lacking} gives none")
    if not climbs["small"]:
        said.append(
            "query saving and an upper bound of transfer: points were found by questions to the "
            "small model, and who rebuilds the network from its graph has gradients to climb; "
            "audit the small model as a module for a rate that can pass"
        )
    if not climbs["full"] and climbs["small"]:
        said.append(
            "whether white-box PGD fools the full model: masked gradients were looked for by "
            "asking the small one questions"
        )
    if found.features is None:
        said.append("linear CKA: of an answering graph or function no features are seen")
    return "; ".join(said)


def _in_logits(model: nn.Module, rows: Rows) -> nn.Module:
    """Return a model that answers with logits, whatever it answered with before."""
    said = predict(model, rows.take(torch.arange(min(_ROWS, len(rows)))))
    return LogitModel(model) if are_probabilities(said.logits) else model


def pair_checks(
    max_transfer: float, max_saving: float, *, guided: bool = True, text: bool = False
) -> tuple[Check, ...]:
    """Return the checks of a pair: transfer in both norms, and the questions saved.

    Args:
        max_transfer: most that the transfer rate may be, in [0, 1].
        max_saving: most that the query saving may be; a failure is a warning.
        guided: whether the small model has gradients, which guide questions.
        text: whether the inputs are tokens, of which fewer rows are attacked, and about which no
            questions are asked.
    """
    checks = []
    for norm in NORMS:
        measure = TransferRate(norm=norm, rows=_TEXT_ROWS if text else _ROWS)
        condition = at_most(max_transfer)
        checks.append(Check(f"{measure.name} {condition}", measure, condition))
    if text or not guided:
        return tuple(checks)
    saving, bound = QuerySavingMeasure(norm="l2", rows=50, budget=1_000), at_most(max_saving)
    checks.append(Check(f"{saving.name} {bound}", saving, bound, critical=False))
    return tuple(checks)


def _unfit(model: nn.Module, rows: Rows, small: RecordedOutputs) -> str:
    """Return what is wrong with one of the models on these rows, or nothing."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    some = map_inputs(lambda t: t[:2].to(device), rows.inputs)
    try:
        with mode(model, training=False), torch.no_grad():
            logits = call(model, some)
    except (SafeCompressError, RuntimeError, ValueError, TypeError, IndexError) as error:
        told = " ".join(str(error).split())[:160]
        return f"fails on inputs of shape {_shapes(some)}, which the other takes: {told}"
    wanted = small.outputs.members.classes
    if logits.shape[1:] != (wanted,):
        return f"has {tuple(logits.shape[1:])} classes, the other {wanted}"
    return ""


def _shapes(inputs: Any) -> str:
    tensors = tensors_of(inputs)
    return ", ".join(str(tuple(t.shape[1:])) for t in tensors)


def _require_guessing_right(
    space: Space, x: Tensor, labels: Tensor, where: str, small: RecordedOutputs
) -> None:
    """Refuse a model no better than chance on points: another preprocessing, or another table.

    Raises:
        ModelError: naming its accuracy.
    """
    nothing = torch.arange(len(x))
    for name, model in ((where, space.full), (str(small.path), space.small)):
        said = predict(model, Rows(x, labels, nothing))
        right = float(said.correct.double().mean())
        if right > 1.5 / said.classes:
            continue
        why = (
            "the tokens are numbered otherwise, or the two embed them in other numbers"
            if space.text
            else "it was trained with another preprocessing or other labels"
        )
        raise ModelError(
            f"against: {name} is right on {right:.1%} of {len(x)} rows that both models take, with "
            f"{said.classes} classes no better than guessing: {why}. {STILL}"
        )
