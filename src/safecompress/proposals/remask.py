"""Change a mask that another proposal has changed already."""

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
    """Return the parent with new masks and everything else that `changed` has.

    Weights that both the parent and the new masks have keep value and state, also where `changed`
    was without them in between.
    """
    made = rewire(parent, masks, proposal=proposal)
    return made.evolve(
        soft_target=changed.soft_target, transforms=changed.transforms, defenses=changed.defenses
    )


def priorities(
    parent: Candidate, changed: Candidate, name: str, context: ProposalContext
) -> Tensor:
    """Return how much each weight of a layer is wanted, float64 of its shape.

    In [2, 3] what the parent has and `changed` keeps, by magnitude; in [1, 2) what `changed` has
    grown, in [0, 1) all others, both by the dense gradient's size, or at random without one.
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
