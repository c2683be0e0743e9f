"""`remask` and `priorities`: change a mask that another proposal has already changed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.protocols import ProposalContext
from safecompress.randomness import generator
from safecompress.sparse.rewire import masked_weight, rewire


def remask(
    parent: Candidate, changed: Candidate, masks: Mapping[str, Tensor], *, proposal: str
) -> Candidate:
    """Return the parent with new masks, and with soft target, transforms and defenses of `changed`.

    Weights that exist in the parent and in the new masks keep their value and optimizer state, also
    where `changed` had dropped them.

    Args:
        parent: the candidate before any change.
        changed: the candidate as the first proposal changed it.
        masks: the new masks by layer, bool.
        proposal: name of the proposal, for messages.
    """
    made = rewire(parent, masks, proposal=proposal)
    return made.evolve(
        soft_target=changed.soft_target, transforms=changed.transforms, defenses=changed.defenses
    )


def priorities(
    parent: Candidate, changed: Candidate, name: str, context: ProposalContext
) -> Tensor:
    """Return the priority of each weight of a layer, float64 of the weight's shape.

    Weights that the parent has and `changed` keeps are in [2, 3], by magnitude. Weights that
    `changed` has grown are in [1, 2) and all others in [0, 1), both by the size of the dense
    gradient, or at random if the context has none.

    Args:
        parent: the candidate before any change.
        changed: the candidate as the first proposal changed it.
        name: the layer's weight.
        context: gives the gradient, and the seed where there is none.
    """
    old, new = parent.topology.masks[name].cpu(), changed.topology.masks[name].cpu()
    magnitude = _share(masked_weight(parent, name).detach().cpu().abs().double() * old)
    gradient = None if context.gradient is None else context.gradient.get(name)
    if gradient is None:
        drawn = torch.rand(old.shape, generator=generator(context.seed, "rank", name))
        missing = drawn.double()
    else:
        missing = 0.999 * _share(gradient.detach().cpu().abs().double())
    return torch.where(old & new, 2.0 + magnitude, missing + (new & ~old).double())


def _share(sizes: Tensor) -> Tensor:
    """Return sizes as shares of the largest, in [0, 1]; NaN and infinity count as the largest."""
    sizes = torch.nan_to_num(sizes, nan=0.0)
    return sizes / sizes.amax().clamp(min=torch.finfo(torch.float64).tiny)
