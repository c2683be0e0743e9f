"""A candidate in mid-training and the context it is changed in, both imagined.

Nothing here was trained: weights, gradients and averages are drawn, so that a proposal can be
tried out without a model and without data.
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
# Two neighboring inputs of the second layer are one channel of the first.
GROUPS = (
    ChannelGroup(8, {"first.weight": torch.arange(8)}, {"second.weight": torch.arange(16) // 2}),
    ChannelGroup(10, {"second.weight": torch.arange(10)}, {"third.weight": torch.arange(10)}),
)


def noise(shape: tuple[int, ...], seed: int, *names: str | int) -> Tensor:
    """Return normal float32 numbers."""
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

    With `stale`, missing weights and their state are not zero, as if somebody forgot to mask.
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
    """Return the candidate of these weights under these masks, its state drawn at random."""
    masks = topology.masks
    shown = {n: torch.ones_like(m) if stale else m for n, m in masks.items()}
    return Candidate(
        weights={n: (w * shown[n]).to(dtype) for n, w in dense.items()}
        | {"norm.weight": torch.ones(4), "norm.num_batches_tracked": torch.tensor(3)},
        optimizer={
            n: {
                "exp_avg": noise(tuple(w.shape), seed, "state", n).to(dtype) * shown[n],
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
    """Return a context with dense random gradients."""
    gradient = {
        name: noise(tuple(mask.shape), seed, "gradient", name).to(parent.weights[name].dtype)
        for name, mask in parent.topology.masks.items()
    }
    return ProposalContext(gradient, progress, seed, GROUPS)
