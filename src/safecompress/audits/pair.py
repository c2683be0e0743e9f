"""`TransferPair`, `pair` and `pair_checks`: how a small model helps attacks on the full one.

An attacker with the small model crafts points that are meant to fool the full one. `pair` refuses
two models on which this cannot be measured, and says what can be compared instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import Space, gives_gradients, space_of
from safecompress.checks import (
    Check,
    QuerySavingMeasure,
    TransferGain,
    TransferRate,
    at_most,
)
from safecompress.checks.similarity import Probe, Similarity, compared
from safecompress.data import RecordedOutputs
from safecompress.data.output_form import columns_of, form_beside
from safecompress.data.output_kind import OutputKind
from safecompress.errors import ModelError, SafeCompressError, UsageError
from safecompress.models.adapt import call
from safecompress.protocols import NORMS, InputRange, Rows, map_inputs, tensors_of
from safecompress.targets.calling import as_module
from safecompress.targets.query import LogitModel
from safecompress.train.predict import answers, mode, predict

STILL = (
    "What both say of the same rows can still be compared: name the full model as the baseline "
    "(--baseline). In Python, safecompress.checks.similarity measures label agreement and "
    "Jensen–Shannon divergence of any logits, and linear CKA of any features."
)
_ROWS, _TEXT_ROWS = 500, 100
_QUESTIONED, _BUDGET = 50, 1_000
"""Rows of which queries are counted, and most queries for each."""
_TEXT_EPOCHS = 2
"""Epochs for which a copy of a model of text is trained: these are large."""


@dataclass(frozen=True)
class TransferPair:
    """A pair of models on which transfer can be measured.

    Args:
        recorded: the small model's outputs; their evidence contains the full model as well.
        similarity: how alike the two are on rows that neither was trained on.
        checks: the checks of the pair.
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
    max_gain: float,
    level: float,
    seed: int,
    outputs: OutputKind = "auto",
) -> TransferPair:
    """Return a small model's evidence with the full model in it, how alike they are, and checks.

    Points are crafted with the gradients of the small model; the full one may be any callable that
    returns outputs. `left_out` says what a model without gradients leaves open. Text needs both
    models' embedding layers; `space_of` says what its points mean.

    Args:
        small: the small model's recorded outputs; their evidence contains the rows and the model.
        full: the model that is attacked.
        where: name of the full model in messages.
        span: range of the models' inputs; None takes the range of the rows.
        max_transfer: upper bound on the transfer rate, in [0, 1].
        max_saving: upper bound on the query saving, at least 1; a failure is a warning.
        max_gain: upper bound on what the small model adds to the transfer rate, in [0, 1]; a
            failure is a warning.
        level: confidence level of the intervals, in (0, 1).
        seed: seed of the resampling.
        outputs: what the small model's outputs are declared to be; settles what the full model
            returns, where its numbers leave it open.

    Raises:
        UsageError: when the pair cannot be measured; names every reason, and what can be compared.
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
    models["full"] = _in_logits(models["full"], rows, outputs, where=both)
    try:
        space = space_of(models["full"], models["small"], rows.inputs, span=span)
    except SafeCompressError as error:
        raise ModelError(f"{both}: {error}. {STILL}") from error
    few = rows.take(torch.arange(min(_TEXT_ROWS if space.text else _ROWS, len(rows))))
    x = space.points(few.inputs)
    _require_guessing_right(space, x, few.labels, where, small)
    has_gradients = {n: gives_gradients(getattr(space, n), x) for n in models}
    if space.text and not all(has_gradients.values()):
        lacking = " and ".join(name for name, able in has_gradients.items() if not able)
        raise ModelError(
            f"{both}: no gradient of the {lacking} model reaches its embeddings. {STILL}"
        )
    probes = [
        Probe.by(model, x, few.labels, batch_size=space.at_once, whole=False)
        for model in (space.full, space.small)
    ]
    similarity = compared(probes[0], probes[1], level=level, seed=seed)
    evidence_of_both = small.evidence.map(
        lambda e: replace(e, target=models["small"], parent_target=models["full"], span=span)
    )
    checks = pair_checks(
        max_transfer, max_saving, max_gain, guided=has_gradients["small"], text=space.text
    )
    left_out = _left_out(has_gradients, similarity, text=space.text)
    return TransferPair(replace(small, evidence=evidence_of_both), similarity, checks, left_out)


def _left_out(has_gradients: dict[str, bool], similarity: Similarity, *, text: bool) -> str:
    """Return in words what of a pair was not measured, and why."""
    reasons = []
    if text:
        reasons.append(
            "query saving: questions are asked in tokens, and points of text are embeddings, "
            "looked up in the full model's table, which stand for no text that could be read"
        )
    lacking = " and ".join(f"the {name} model" for name, able in has_gradients.items() if not able)
    if lacking:
        reasons.append(f"the cosine of input gradients: {lacking} gives none")
    if not has_gradients["small"]:
        reasons.append(
            "query saving and an upper bound of transfer: points were found by questions to the "
            "small model, and who rebuilds the network from its graph has gradients to climb; "
            "audit the small model as a module for a rate that can pass"
        )
    if not has_gradients["full"] and has_gradients["small"]:
        reasons.append(
            "whether white-box PGD fools the full model: masked gradients were looked for by "
            "asking the small one questions"
        )
    if similarity.features is None:
        reasons.append("linear CKA: of an answering graph or function no features are seen")
    return "; ".join(reasons)


def _in_logits(model: nn.Module, rows: Rows, declared: OutputKind, *, where: str) -> nn.Module:
    """Return a model that returns logits, also where the given one returns probabilities.

    The small model needs none of this: its record holds a model that returns logits.
    """
    said = columns_of(answers(model, rows.take(torch.arange(min(_ROWS, len(rows))))))
    form = form_beside([said], declared=declared, where=f"{where}, whose outputs are unclear")
    return model if form.plain else LogitModel(model, form)


def pair_checks(
    max_transfer: float,
    max_saving: float,
    max_gain: float,
    *,
    guided: bool = True,
    text: bool = False,
) -> tuple[Check, ...]:
    """Return the checks of a pair: transfer and its gain in both norms, and the queries saved.

    Args:
        max_transfer: upper bound on the transfer rate, in [0, 1].
        max_saving: upper bound on the query saving, at least 1; a failure is a warning.
        max_gain: upper bound on what the small model adds to the transfer rate, in [0, 1]; a
            failure is a warning.
        guided: whether the small model has gradients, without which it saves no queries and no
            attacker can be compared with one who does not hold it.
        text: whether the inputs are tokens: then fewer rows are attacked and copies are trained
            briefly, because that takes longer, no network of the attacker's own could be trained
            from nothing, and no queries are made, because points are embeddings.
    """
    rate, gain = at_most(max_transfer), at_most(max_gain)
    if text:
        measures = [TransferRate(norm=n, rows=_TEXT_ROWS, epochs=_TEXT_EPOCHS) for n in NORMS]
    else:
        measures = [TransferRate(norm=n, rows=_ROWS) for n in NORMS]
    checks = [Check(f"{m.name} {rate}", m, rate) for m in measures]
    if text or not guided:
        return tuple(checks)
    for norm in NORMS:
        added = TransferGain(norm=norm, rows=_ROWS)
        checks.append(Check(f"{added.name} {gain}", added, gain, critical=False))
    saving, bound = (
        QuerySavingMeasure(norm="l2", rows=_QUESTIONED, budget=_BUDGET),
        at_most(max_saving),
    )
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
        message = " ".join(str(error).split())[:160]
        return f"fails on inputs of shape {_shapes(some)}, which the other takes: {message}"
    classes = small.outputs.members.classes
    if classes == 2 and logits.shape[1:] in {(), (1,)}:
        return ""
    if logits.shape[1:] != (classes,):
        return f"has {tuple(logits.shape[1:])} classes, the other {classes}"
    return ""


def _shapes(inputs: Any) -> str:
    tensors = tensors_of(inputs)
    return ", ".join(str(tuple(t.shape[1:])) for t in tensors)


def _require_guessing_right(
    space: Space, x: Tensor, labels: Tensor, where: str, small: RecordedOutputs
) -> None:
    """Refuse a model that is no better than chance on the points.

    Such a model was trained with another preprocessing, labels or table of embeddings.

    Raises:
        ModelError: with the model's accuracy.
    """
    ids = torch.arange(len(x))
    for name, model in ((where, space.full), (str(small.path), space.small)):
        outputs = predict(model, Rows(x, labels, ids))
        right = float(outputs.correct.double().mean())
        if right > 1.5 / outputs.classes:
            continue
        why = (
            "the tokens are numbered otherwise, or the two embed them in other numbers"
            if space.text
            else "it was trained with another preprocessing or other labels"
        )
        raise ModelError(
            f"against: {name} is right on {right:.1%} of {len(x)} rows that both models take, with "
            f"{outputs.classes} classes no better than guessing: {why}. {STILL}"
        )
