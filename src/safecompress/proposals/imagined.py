"""`candidate`, `trained`, `context`: random inputs on which the contract tests proposals.

Weights, gradients and averages are drawn at random and stand for a candidate in mid-training, so
that a proposal can be tested without a model and without data.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.protocols import ProposalContext
from safecompress.randomness import generator
from safecompress.sparse.initialize import initialize
from safecompress.topology import Topology
from safecompress.transforms import ChannelGroup

SHAPES = {"first.weight": (8, 3, 3, 3), "second.weight": (10, 16), "third.weight": (4, 10)}
# Each channel of the first layer is read by two neighboring inputs of the second, as after a
# flattened feature map of two positions.
GROUPS = (
    ChannelGroup(8, {"first.weight": torch.arange(8)}, {"second.weight": torch.arange(16) // 2}),
    ChannelGroup(10, {"second.weight": torch.arange(10)}, {"third.weight": torch.arange(10)}),
)


def noise(shape: tuple[int, ...], seed: int, *names: str | int) -> Tensor:
    """Return standard normal float32 numbers.

    Args:
        shape: shape of the result.
        seed: seed of the draw.
        *names: further parts of the seed; equal names give equal numbers.
    """
    return torch.randn(shape, generator=generator(seed, *names))


def candidate(
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
    *,
    density: float = 0.3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    stale: bool = False,
) -> Candidate:
    """Return a candidate in mid-training: a sparse net with momentum and a moving average.

    Args:
        shapes: shape of each maskable weight by name.
        density: share of the maskable weights that exist, in (0, 1].
        seed: seed of masks, weights and state.
        dtype: floating type of the weights.
        stale: whether missing weights and their state are left non-zero, as by a proposal that
            forgets to mask them.
    """
    dense = {name: noise(shape, seed, "weight", name) for name, shape in shapes.items()}
    topology = initialize(dense, density=density, distribution="erk", method="scratch", seed=seed)
    return trained(dense, topology, seed=seed, dtype=dtype, stale=stale)


def trained(
    dense: Mapping[str, Tensor],
    topology: Topology,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    stale: bool = False,
) -> Candidate:
    """Return the candidate of these weights under these masks, its state drawn at random.

    Args:
        dense: the weights by name, before masking.
        topology: the masks.
        seed: seed of optimizer state and moving average.
        dtype: floating type of the weights.
        stale: whether missing weights and their state are left non-zero.
    """
    masks = topology.masks
    drawn_masks = {n: torch.ones_like(m) if stale else m for n, m in masks.items()}
    return Candidate(
        weights={n: (w * drawn_masks[n]).to(dtype) for n, w in dense.items()}
        | {"norm.weight": torch.ones(4), "norm.num_batches_tracked": torch.tensor(3)},
        optimizer={
            n: {
                "exp_avg": noise(tuple(w.shape), seed, "state", n).to(dtype) * drawn_masks[n],
                "step": torch.tensor(7.0),
            }
            for n, w in dense.items()
        }
        | {"norm.weight": {"exp_avg": torch.ones(4), "step": torch.tensor(7.0)}},
        topology=topology,
        ever_active={n: m.clone() for n, m in masks.items()},
        moving_average={
            n: noise(tuple(w.shape), seed, "average", n).to(dtype) for n, w in dense.items()
        },
        step=100,
        lineage=("keep",),
    )


def context(parent: Candidate, *, progress: float = 0.0, seed: int = 0) -> ProposalContext:
    """Return a context with dense random gradients.

    Args:
        parent: the candidate whose gradients they stand for.
        progress: share of the period of mask updates that has passed, in [0, 1].
        seed: seed of the gradients, and of the proposal's random choices.
    """
    gradient = {
        name: noise(tuple(mask.shape), seed, "gradient", name).to(parent.weights[name].dtype)
        for name, mask in parent.topology.masks.items()
    }
    return ProposalContext(gradient, progress, seed, GROUPS)
