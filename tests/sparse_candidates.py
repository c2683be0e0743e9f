"""Candidates, gradients and contexts for the tests of sparse training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.proposals import Strategy
from safecompress.protocols import ProposalContext
from safecompress.randomness import generator
from safecompress.sparse import initialize
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


def exchanges(parent: Candidate, child: Candidate) -> dict[str, tuple[Tensor, Tensor]]:
    """Return per layer the bool masks of dropped and of grown weights."""
    old, new = parent.topology.masks, child.topology.masks
    return {name: (old[name] & ~new[name], new[name] & ~old[name]) for name in old}


def one_layer(
    weight: list[float],
    *,
    gradient: list[float] | None = None,
    average: list[float] | None = None,
    momentum: list[float] | None = None,
    ever: list[int] | None = None,
) -> tuple[Candidate, ProposalContext]:
    """Return a candidate of one (1, n) layer whose non-zero weights exist, and its context."""
    row = torch.tensor([weight])
    mask = row != 0
    parent = Candidate(
        weights={"w": row},
        optimizer={"w": {"momentum_buffer": torch.tensor([momentum])}} if momentum else {},
        topology=Topology({"w": mask}),
        ever_active={"w": mask if ever is None else torch.tensor([ever]).bool()},
        moving_average={} if average is None else {"w": torch.tensor([average])},
    )
    dense = None if gradient is None else {"w": torch.tensor([gradient])}
    return parent, ProposalContext(dense, 0.0, 0)


def exchanged(
    strategy: Strategy, case: tuple[Candidate, ProposalContext]
) -> tuple[list[int], list[int]]:
    """Return the dropped and the grown positions of a one-layer case."""
    parent, situation = case
    dropped, grown = exchanges(parent, strategy(parent, situation))["w"]
    return (
        dropped.flatten().nonzero().flatten().tolist(),
        grown.flatten().nonzero().flatten().tolist(),
    )
