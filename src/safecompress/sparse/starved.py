"""`starved_layers`: layers that keep so few weights that hardly any signal passes them."""

from __future__ import annotations

from safecompress.topology import Topology

_ALIVE = 0.1
"""Share of a layer's outputs that must have a weight; with fewer the layer is a bottleneck that no
later training widens, because a layer keeps its number of weights."""


def starved_layers(topology: Topology, tables: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return a sentence about each layer of which nine in ten outputs have no weight.

    Such a network returns nearly the same for every row, and a constant leaks nothing, so that its
    verdict may look good.

    Args:
        topology: which weights exist.
        tables: names of embedding tables, whose rows are looked up one by one and are passed over.
    """
    found = []
    for name, mask in topology.masks.items():
        if name in tables or not mask.numel():
            continue
        outputs = len(mask)
        alive = int(mask.flatten(1).any(dim=1).sum())
        if alive < _ALIVE * outputs:
            found.append(
                f"layer '{name}' keeps {int(mask.sum()):,} of {mask.numel():,} weights, and "
                f"{outputs - alive:,} of its {outputs:,} outputs have none, so hardly any signal "
                "passes it"
            )
    return tuple(found)
