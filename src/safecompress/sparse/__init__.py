"""Sparse training: which weights exist at first, and how masks change.

`initialise` makes the first topology; a `Strategy` drops some weights of every layer and grows as
many elsewhere; `PROPOSALS`, `DROP_RULES` and `GROW_RULES` name what there is and take what other
packages publish.
"""

from __future__ import annotations

from safecompress.sparse.channels import RemoveChannels, without_channels
from safecompress.sparse.distributions import layer_counts
from safecompress.sparse.drop import DROP_RULES, DropRule
from safecompress.sparse.grow import GROW_RULES, GrowRule
from safecompress.sparse.initialise import initialise, scale_to_mask_
from safecompress.sparse.layer import Layer
from safecompress.sparse.patterns import Pattern
from safecompress.sparse.proposals import (
    PROPOSALS,
    Keep,
    SoftLabels,
    channels,
    pattern,
    quantise,
    rigl,
    set_,
    soft_labels,
    update,
    with_defaults,
)
from safecompress.sparse.quantise import Quantise
from safecompress.sparse.rewire import rewire
from safecompress.sparse.schedules import FractionPlan, drop_fraction
from safecompress.sparse.strategy import Strategy
from safecompress.sparse.unpair import UNPAIRING, Unpair

__all__ = [
    "DROP_RULES",
    "GROW_RULES",
    "PROPOSALS",
    "UNPAIRING",
    "DropRule",
    "FractionPlan",
    "GrowRule",
    "Keep",
    "Layer",
    "Pattern",
    "Quantise",
    "RemoveChannels",
    "SoftLabels",
    "Strategy",
    "Unpair",
    "channels",
    "drop_fraction",
    "initialise",
    "layer_counts",
    "pattern",
    "quantise",
    "rewire",
    "rigl",
    "scale_to_mask_",
    "set_",
    "soft_labels",
    "update",
    "with_defaults",
    "without_channels",
]
