"""Candidates, gradients and contexts for the tests of sparse training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.proposals import Strategy
from safecompress.proposals.imagined import GROUPS, SHAPES, candidate, context, noise, trained
from safecompress.protocols import ProposalContext
from safecompress.topology import Topology

__all__ = [
    "EXAMPLES",
    "GROUPS",
    "SHAPES",
    "candidate",
    "context",
    "exchanged",
    "exchanges",
    "noise",
    "one_layer",
    "trained",
]

EXAMPLES: dict[str, dict[str, Any]] = {
    "set": {},
    "rigl": {},
    "keep": {},
    "update": {"drop": "taylor", "grow": "momentum"},
    "soft-labels": {"share": 0.5, "mask": "rigl"},
    "quantize": {"bits": 8, "mask": "rigl"},
    "channels": {"share": 0.25, "mask": "rigl"},
    "pattern": {"form": "2:4", "mask": "rigl"},
    "unpair": {"weight": 0.5, "mask": "rigl"},
    "student": {"mask": "rigl"},
}
"""Options that make every registered proposal work."""


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
