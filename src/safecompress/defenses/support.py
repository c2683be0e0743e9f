"""Which weights stay while dense weights are trained towards a mask."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from safecompress.config import SparseConfig
from safecompress.sparse import initialize
from safecompress.topology import Topology

METHODS = {
    "admm-global": "magnitude-global",
    "admm-layer": "magnitude-layer",
    "gradual-global": "magnitude-global",
    "gradual-layer": "magnitude-layer",
}
"""First masks that dense weights are trained towards, and how each compares magnitudes."""

KEPT = "kept"
"""Begins the names of a pruner's masks in its state."""


def largest(weights: Mapping[str, Tensor], sparse: SparseConfig, *, density: float) -> Topology:
    """Return which weights are the largest, exactly as many as the density says.

    The nearest point with so few weights keeps these. Equal ones are settled by position.

    Args:
        weights: maskable parameters by name.
        sparse: says by `initialize` whether the network has one budget or every layer its own,
            and by `distribution` how layers share it.
        density: share kept, in (0, 1].

    Raises:
        ConfigError: on a density that is impossible.
        NonFiniteError: when a weight is NaN or infinite.
    """
    method, distribution = METHODS[sparse.initialize], sparse.distribution
    # Magnitudes leave nothing to draw, so the seed is of no account.
    return initialize(weights, density=density, distribution=distribution, method=method, seed=0)


def support(state: Mapping[str, Tensor]) -> Topology:
    """Return which weights a pruner keeps, from its state."""
    mark = f"{KEPT}."
    return Topology({k.removeprefix(mark): v for k, v in state.items() if k.startswith(mark)})
