"""Sparse training: which weights exist at first, and how masks change.

`initialize` makes the first topology, `rewire` gives a candidate new masks, and drop and grow rules
score which weights go and which come. `DROP_RULES` and `GROW_RULES` list the rules of this package
and those that other packages publish.
"""

from __future__ import annotations

from safecompress.sparse.distributions import layer_counts
from safecompress.sparse.drop import DROP_RULES, DropRule
from safecompress.sparse.grow import GROW_RULES, GrowRule
from safecompress.sparse.initialize import initialize, scale_to_mask_, scaled_to_mask
from safecompress.sparse.layer import Layer
from safecompress.sparse.rewire import rewire
from safecompress.sparse.schedules import FractionPlan, drop_fraction

__all__ = [
    "DROP_RULES",
    "GROW_RULES",
    "DropRule",
    "FractionPlan",
    "GrowRule",
    "Layer",
    "drop_fraction",
    "initialize",
    "layer_counts",
    "rewire",
    "scale_to_mask_",
    "scaled_to_mask",
]
