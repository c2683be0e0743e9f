"""`faults_of`: what is wrong with a candidate's weights, masks, state or transforms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from safecompress.candidate import Candidate, SoftTarget
from safecompress.transforms import WEIGHT_BITS


def faults_of(
    candidate: Candidate, *, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]
) -> Iterator[str]:
    """Yield what is wrong with a candidate, as ends of sentences that begin with its proposal.

    Training and judging rely on these properties without checking them again. Later checks may fail
    if an earlier fault is present, so callers take the first fault and stop.

    Args:
        candidate: the candidate to check.
        weights: tensors whose names, shapes, types and devices its weights must have.
        masks: tensors whose names and shapes its masks must have.
    """
    yield from _weight_faults(candidate.weights, weights)
    yield from _mask_faults(candidate, masks)
    yield from _state_faults(candidate)
    yield from _transform_faults(candidate)
    target = candidate.soft_target
    if not (
        isinstance(target, SoftTarget)
        and 0 <= target.share <= 1
        and 0 < target.temperature < math.inf
    ):
        yield (
            f"set the soft target {target!r}; expected a share in [0, 1] and a finite temperature "
            "above 0"
        )


def _weight_faults(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    yield from _name_faults("weights", actual, expected)
    for name, tensor in actual.items():
        kind, wanted = _described(tensor), _described(expected[name])
        if kind != wanted:
            yield f"returned '{name}' as {kind}; expected {wanted}"
        if tensor.requires_grad:
            yield f"returned '{name}' attached to a gradient graph; expected plain numbers: detach"
        if not _finite(tensor):
            yield f"returned NaN or infinite values in '{name}'"


def _mask_faults(candidate: Candidate, expected: Mapping[str, Tensor]) -> Iterator[str]:
    masks: Mapping[str, Any] = candidate.topology.masks
    yield from _name_faults("masks", masks, expected)
    for name, mask in masks.items():
        if not _is_mask(mask, expected[name].shape):
            wanted = f"bool {tuple(expected[name].shape)}"
            yield f"returned the mask of '{name}' as {_described(mask)}; expected {wanted}"
        if _any_outside(candidate.weights[name], mask):
            yield (
                f"left values in '{name}' where its mask says that no weight exists; "
                "set them to zero (sparse.rewire does)"
            )
    for name, ever in candidate.ever_active.items():
        if name not in masks or not _is_mask(ever, masks[name].shape):
            yield f"returned ever_active of '{name}' as {_described(ever)}; expected a mask's kind"
        if bool((masks[name] & ~ever).any()):
            yield f"returned ever_active of '{name}' without weights that exist now"


def _state_faults(candidate: Candidate) -> Iterator[str]:
    for name, state in candidate.optimizer.items():
        weight = candidate.weights.get(name)
        wanted = "a scalar" if weight is None else f"{tuple(weight.shape)} or a scalar"
        for key, tensor in state.items():
            shapes = ((), None if weight is None else tuple(weight.shape))
            if not _has_shape(tensor, *shapes):
                actual = _described(tensor)
                yield f"returned optimizer state '{key}' of '{name}' as {actual}; expected {wanted}"
            if not _finite(tensor):
                yield f"returned NaN or infinite optimizer state '{key}' of '{name}'"
    for name, average in candidate.moving_average.items():
        mask = candidate.topology.masks.get(name)
        if mask is None or not _has_shape(average, tuple(mask.shape)):
            yield f"returned the moving average of '{name}' as {_described(average)}"
    for defense, state in candidate.defenses.items():
        for key, tensor in state.items():
            if not _has_shape(tensor, None):
                yield f"returned the state '{key}' of '{defense}' as {_described(tensor)}"


def _transform_faults(candidate: Candidate) -> Iterator[str]:
    transforms, masks = candidate.transforms, candidate.topology.masks
    bits: object = transforms.bits
    if isinstance(bits, bool) or bits not in {None, *WEIGHT_BITS}:
        yield f"set {bits!r} bits; expected {' or '.join(map(str, WEIGHT_BITS))}, or None"
    if transforms.activations not in {True, False}:
        yield f"set activations to {transforms.activations!r}; expected true or false"
    for name, bounds in transforms.ranges.items():
        if not _has_shape(bounds, (2,)) or not _finite(bounds) or bool(bounds[0] > bounds[1]):
            yield f"returned the input range of '{name}' as {bounds!r}; expected low, high"
    channels = transforms.channels
    for dimension, left in enumerate((channels.rows, channels.columns)):
        for name, kept in left.items():
            weight = candidate.weights.get(name)
            if weight is None or not _is_mask(kept, weight.shape[dimension : dimension + 1]):
                yield f"returned the channels of '{name}' as {_described(kept)}"
    for name, mask in masks.items():
        allowed = channels.open(name, mask.shape)
        if allowed is not None and bool((mask.cpu() & ~allowed).any()):
            yield f"returned weights of '{name}' in channels that are gone"
    for name, kept in channels.rows.items():
        if name not in masks and _any_outside(candidate.weights[name], kept):
            yield f"left values of '{name}' in channels that are gone"


def _name_faults(
    what: str, actual: Mapping[str, Any], expected: Mapping[str, Any]
) -> Iterator[str]:
    if lacking := sorted(expected.keys() - actual.keys()):
        yield f"returned {what} without '{lacking[0]}'"
    if foreign := sorted(actual.keys() - expected.keys()):
        yield f"returned {what} of '{foreign[0]}', which its parent does not have"


def _is_mask(tensor: object, shape: torch.Size) -> bool:
    return isinstance(tensor, Tensor) and tensor.dtype == torch.bool and tensor.shape == shape


def _any_outside(weight: Tensor, mask: Tensor) -> bool:
    """Return whether a weight has a value where its mask, of its first dimensions, is False."""
    return bool((weight[~mask.to(weight.device)] != 0).any())


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _has_shape(tensor: object, *shapes: tuple[int, ...] | None) -> bool:
    """Return whether a value is a tensor without gradient of one of the shapes; None allows all."""
    return (
        isinstance(tensor, Tensor)
        and not tensor.requires_grad
        and (shapes == (None,) or tuple(tensor.shape) in shapes)
    )


def _described(tensor: object) -> str:
    """Return a tensor's type, shape and device as text, or the type of another value."""
    if not isinstance(tensor, Tensor):
        return type(tensor).__name__
    kind = str(tensor.dtype).removeprefix("torch.")
    device = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    layout = "" if tensor.layout == torch.strided else f" ({tensor.layout})"
    return f"{kind} {tuple(tensor.shape)}{device}{layout}"
