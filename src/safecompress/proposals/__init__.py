"""Proposals: the ways to change a candidate, one file each.

A `Strategy` drops some weights of every layer and grows as many elsewhere; others change precision,
channels, the form of the mask or the target of training. `PROPOSALS` names what there is and takes
what other packages publish.
"""

from __future__ import annotations

from safecompress.proposals.drop_grow import Strategy
from safecompress.proposals.pattern import Pattern
from safecompress.proposals.quantize import Quantize
from safecompress.proposals.registry import (
    PROPOSALS,
    Keep,
    SoftLabels,
    channels,
    pattern,
    quantize,
    rigl,
    set_,
    soft_labels,
    update,
    with_defaults,
)
from safecompress.proposals.remove_channels import RemoveChannels, without_channels
from safecompress.proposals.unpair import UNPAIRING, Unpair

__all__ = [
    "PROPOSALS",
    "UNPAIRING",
    "Keep",
    "Pattern",
    "Quantize",
    "RemoveChannels",
    "SoftLabels",
    "Strategy",
    "Unpair",
    "channels",
    "pattern",
    "quantize",
    "rigl",
    "set_",
    "soft_labels",
    "update",
    "with_defaults",
    "without_channels",
]
