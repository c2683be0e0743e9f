"""`of_same_rows`: the outputs of several models on the rows that all have, in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from safecompress.audits.row_order import in_another_order
from safecompress.data import RecordedOutputs
from safecompress.errors import DataError
from safecompress.protocols import Outputs, Pool, tensors_of


def of_same_rows(
    recorded: RecordedOutputs, *others: RecordedOutputs, role: str = "the baseline"
) -> tuple[RecordedOutputs, ...]:
    """Return all models' outputs on the rows that were left out of none, the first model's first.

    A row that is given several times is judged once. Where only outputs are known, or texts become
    tokens, two models may see different repetitions.

    Args:
        recorded: outputs of the judged model, or of the first of several.
        others: outputs of the models that it is compared or judged with.
        role: what each of these is, for messages.

    Raises:
        DataError: when they are not outputs for the same classes on the same rows, both in the
            same order; no difference could be paired.
    """
    for other in others:
        _require_same_classes(recorded, other, role=role)
        _require_same_rows(recorded, other, role=role)
    models = (recorded, *others)
    kept = [_places(group) for group in zip(*(_groups(m) for m in models), strict=True)]
    left_out = sum(
        len(outputs) - len(at)
        for group, places in zip(("members", "nonmembers"), kept, strict=True)
        for outputs, at in zip((getattr(m.outputs, group) for m in models), places, strict=True)
    )
    if not left_out:
        return models
    remark = (
        f"{left_out:,} rows are left out of the comparison, because one of the models does not "
        "tell them from others."
    )
    taken = [m.take(Pool(a, b)) for m, a, b in zip(models, *kept, strict=True)]
    return (replace(taken[0], remarks=(*recorded.remarks, remark)), *taken[1:])


def _groups(model: RecordedOutputs) -> tuple[Outputs, Outputs]:
    return model.outputs.members, model.outputs.nonmembers


def _require_same_classes(recorded: RecordedOutputs, other: RecordedOutputs, *, role: str) -> None:
    ours, theirs = (m.outputs.members.classes for m in (recorded, other))
    if ours != theirs:
        raise DataError(
            f"{other.path}: {theirs} classes, and {recorded.path} has {ours}; {role} must answer "
            "for the same classes, in the same order."
        )
    for place, name in enumerate(other.class_names):
        # Names that differ altogether contradict nothing: one model may number what another names.
        if name in recorded.class_names and recorded.class_names.index(name) != place:
            raise DataError(
                f"{other.path}: '{name}' is its class {place}, and that of {recorded.path} "
                f"{recorded.class_names.index(name)}; {role} must answer for the same classes, in "
                "the same order."
            )


def _require_same_rows(recorded: RecordedOutputs, other: RecordedOutputs, *, role: str) -> None:
    given = [r.given or r.outputs.map(len) for r in (recorded, other)]
    pairs = zip(_groups(recorded), _groups(other), strict=True)
    sizes = ((of.members, of.nonmembers) for of in given)
    for group, (a, b), first, second in zip(("members", "non-members"), pairs, *sizes, strict=True):
        ours, theirs = _places((a, b))
        if first != second or not torch.equal(a.labels[ours], b.labels[theirs]):
            raise DataError(
                f"{other.path}: {second} {group} with labels that differ from the {first} of "
                f"{recorded.path}; the rows of {role} must be the same, in the same order."
            )
        if _told_by_order(recorded, other) and in_another_order(_of(a, ours), _of(b, theirs)):
            raise DataError(
                f"{other.path}: what it says of the {len(ours)} {group} has nothing to do, within "
                f"a class, with what {recorded.path} says; the rows of {role} must be the same, in "
                "the same order, and these seem to be in another order among rows of one label."
            )
        if not len(ours):
            raise DataError(
                f"{other.path}: other {group} than those of {recorded.path}; the rows of {role} "
                "must be the same, in the same order."
            )


def _told_by_order(*models: RecordedOutputs) -> bool:
    """Return whether only its place tells which row an answer of one of the models is about."""
    return any(not any(t[:1].numel() for t in tensors_of(m.rows.members.inputs)) for m in models)


def _of(outputs: Outputs, places: Tensor) -> Outputs:
    return outputs if len(places) == len(outputs) else outputs.take(places)


def _places(models: Sequence[Outputs]) -> list[Tensor]:
    """Return the positions in each model's outputs of the rows that all have, by their ids."""
    common = models[0].ids
    for outputs in models[1:]:
        common = common[torch.isin(common, outputs.ids)]
    return [torch.isin(outputs.ids, common).nonzero().squeeze(1) for outputs in models]
