"""Which weights stay while dense weights are trained towards a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from torch import Tensor

from safecompress.config import SparseConfig
from safecompress.sparse import initialize
from safecompress.topology import Topology

Scope: TypeAlias = Literal["global", "layer"]
"""Whether the network has one budget, or every layer its own."""

KEPT = "kept"
"""Begins the names of a pruner's masks in its state."""


def largest(
    weights: Mapping[str, Tensor], sparse: SparseConfig, *, scope: Scope, density: float
) -> Topology:
    """Return which weights are the largest, exactly as many as the density says.

    The nearest point with so few weights keeps these. Equal ones are settled by position.

    Args:
        weights: maskable parameters by name.
        sparse: says by `distribution` how layers share a budget.
        scope: whether the network has one budget, or every layer its own.
        density: share kept, in (0, 1].

    Raises:
        ConfigError: on a density that is impossible.
        NonFiniteError: when a weight is NaN or infinite.
    """
    return initialize(
        weights,
        density=density,
        distribution=sparse.distribution,
        method=f"magnitude-{scope}",
        # Magnitudes leave nothing to draw, so the seed is of no account.
        seed=0,
    )


def support(state: Mapping[str, Tensor]) -> Topology:
    """Return which weights a pruner keeps, from its state."""
    mark = f"{KEPT}."
    return Topology({k.removeprefix(mark): v for k, v in state.items() if k.startswith(mark)})
