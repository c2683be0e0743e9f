"""The context that first masks are given and the rules for their start, in runs and contracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.sparse.soundness import faults_of
from safecompress.topology import Topology


def shown_to(mask: FirstMask, context: FirstMaskContext) -> FirstMaskContext:
    """Return a context without the things that a first mask does not declare to look at.

    Args:
        mask: the first mask; it declares what it looks at.
        context: holds everything that there is.
    """
    return replace(
        context,
        dense=context.dense if mask.needs_dense else None,
        student=context.student if mask.needs_teachers else None,
        gradient=context.gradient if mask.looks_at_members else None,
        soft_gradient=context.soft_gradient if mask.needs_soft_labels else None,
    )


def fault_of(
    mask: FirstMask,
    start: object,
    *,
    module: nn.Module,
    weights: Mapping[str, Tensor],
    density: float,
) -> str:
    """Return the first thing that is wrong with a start, or an empty string.

    Args:
        mask: the first mask; it declares whether there are teachers.
        start: what it returned, whatever that is.
        module: the model, for its maskable parameters.
        weights: a state_dict of the model, for names, shapes and types.
        density: share of the maskable weights that the masks must keep, in (0, 1].

    Returns:
        The end of a sentence whose subject is the first mask.
    """
    if not isinstance(start, FirstMaskStart):
        return f"returned {type(start).__name__}; expected a FirstMaskStart"
    dense, masks = Topology.dense(module), start.topology.masks
    found = dict(start.weights)
    for name in masks.keys() & found.keys() & dense.masks.keys():
        if masks[name].shape == found[name].shape:
            # Weights that do not exist become zero when the candidate is made.
            found[name] = found[name] * masks[name]
    made = Candidate(found, {}, start.topology, {}, soft_target=start.soft_target)
    for fault in faults_of(made, weights=weights, masks=dense.masks):
        return fault
    wanted = round(density * dense.total)
    if start.topology.nonzeros != wanted:
        return (
            f"kept {start.topology.nonzeros} weights of {dense.total}; a density of {density:g} "
            f"asks for {wanted}"
        )
    if start.soft_target.share and not (mask.needs_teachers or mask.needs_soft_labels):
        return "set a soft target without declaring needs_teachers or needs_soft_labels"
    return ""
