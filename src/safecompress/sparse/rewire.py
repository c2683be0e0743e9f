"""`rewire`: a candidate with new masks that keeps nothing of the weights that were dropped."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.errors import ModelError
from safecompress.topology import Topology


def rewire(parent: Candidate, masks: Mapping[str, Tensor], *, proposal: str) -> Candidate:
    """Return the candidate with new masks.

    Only weights that exist both before and after keep their value and their optimizer state. All
    others become zero with zero state, so that a weight grown again does not get back its old value
    and a dropped weight leaves no trace in the model. Optimizer state of another shape than the
    weight, such as a step count, stays. Tied tensors stay tied.

    Args:
        parent: the candidate; its tensors are left untouched, and unchanged ones are shared.
        masks: one bool mask for each masked parameter of the parent, by name and of its shape.
        proposal: name of the proposal that gives the masks, for messages.

    Raises:
        ModelError: when the masks are not those of the parent's parameters.
    """
    old = parent.topology.masks
    if set(masks) != set(old) or any(masks[n].shape != old[n].shape for n in old):
        raise ModelError(
            f"{proposal}: the new masks differ from the candidate's in names or shapes; "
            "give one mask for every masked parameter, of its shape."
        )
    weights = dict(parent.weights)
    optimizer = dict(parent.optimizer)
    ever_active = dict(parent.ever_active)
    for name in old:
        kept = (old[name] & masks[name]).flatten().nonzero().squeeze(1)
        weight = masked_weight(parent, name)
        weights[name] = _only(weight, kept)
        weights.update(dict.fromkeys(_aliases(parent, name), weights[name]))
        if name in optimizer:
            optimizer[name] = {
                key: _only(state, kept) if state.shape == weight.shape else state
                for key, state in optimizer[name].items()
            }
        ever_active[name] = ever_active.get(name, old[name]) | masks[name]
    return parent.evolve(
        weights=weights,
        optimizer=optimizer,
        topology=Topology({name: masks[name] for name in old}),
        ever_active=ever_active,
    )


def masked_weight(candidate: Candidate, name: str) -> Tensor:
    """Return the weight that the mask called `name` belongs to.

    Args:
        candidate: holds the weight and the mask.
        name: name of a masked parameter.

    Raises:
        ModelError: when the candidate has no weight of that name and of the mask's shape.
    """
    weight = candidate.weights.get(name)
    shape = candidate.topology.masks[name].shape
    if weight is None or weight.shape != shape:
        actual = "no such weight" if weight is None else f"one of shape {tuple(weight.shape)}"
        raise ModelError(
            f"candidate: '{name}' has a mask of shape {tuple(shape)} but {actual}; "
            "weights and topology belong to different models."
        )
    return weight


def _only(tensor: Tensor, kept: Tensor) -> Tensor:
    """Return a copy of the tensor that is zero everywhere except at the flat positions `kept`."""
    positions = kept.to(tensor.device)
    only = torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    only.view(-1)[positions] = tensor.detach().flatten()[positions]
    # Flat positions follow the order of the dimensions, so the copy above is contiguous; give it
    # the memory format of the original, for example channels-last.
    return torch.empty_like(tensor).copy_(only) if not tensor.is_contiguous() else only


def _aliases(candidate: Candidate, name: str) -> list[str]:
    """Return the other names of a tensor; a state dict lists a tied parameter repeatedly."""
    weight = candidate.weights[name]
    return [
        other
        for other, tensor in candidate.weights.items()
        if other != name
        and other not in candidate.topology.masks
        and tensor.shape == weight.shape
        and tensor.data_ptr() == weight.data_ptr()
    ]
