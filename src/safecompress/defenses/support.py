"""`largest` and `support`: which weights stay while dense weights are trained towards a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from torch import Tensor

from safecompress.config import SparseConfig
from safecompress.sparse import initialize
from safecompress.topology import Topology

Scope: TypeAlias = Literal["global", "layer"]
"""Whether the network has one budget of weights, or every layer its own."""

KEPT = "kept"
"""Prefix of the names of a pruner's masks in its state."""


def largest(
    weights: Mapping[str, Tensor],
    sparse: SparseConfig,
    *,
    scope: Scope,
    density: float,
    tables: frozenset[str] = frozenset(),
) -> Topology:
    """Return the mask of the largest weights, exactly as many as the density allows.

    Setting all other weights to zero gives the nearest point with so few non-zero weights. Equal
    magnitudes are settled by position.

    Args:
        weights: maskable parameters by name.
        sparse: its `distribution` tells how layers share a budget.
        scope: whether the network has one budget of weights, or every layer its own.
        density: share of the weights kept, in (0, 1].
        tables: names of the embedding tables, which keep their share by themselves.

    Raises:
        ConfigError: on a density that is impossible.
        NonFiniteError: when a weight is NaN or infinite.
    """
    return initialize(
        weights,
        density=density,
        distribution=sparse.distribution,
        method=f"magnitude-{scope}",
        # Masks by magnitude use no random numbers, so any seed gives the same mask.
        seed=0,
        tables=tables,
    )


def support(state: Mapping[str, Tensor]) -> Topology:
    """Return the masks in the state of a pruner.

    Args:
        state: what the `state` of `Admm` or `Gradual` returned.
    """
    mark = f"{KEPT}."
    return Topology({k.removeprefix(mark): v for k, v in state.items() if k.startswith(mark)})
