"""Proposals: the ways to change a candidate, one file each.

A `Strategy` drops some weights of every layer and grows as many others; other proposals change
precision, channels, the form of the mask or the target of training. `PROPOSALS` lists them by name,
together with those that other packages publish.
"""

from __future__ import annotations

from safecompress.proposals.registry import PROPOSALS

# Each module registers its proposals when it is imported, so this order is the order of listings.
# isort: off
from safecompress.proposals.drop_grow import Strategy, rigl, set_, update
from safecompress.proposals.soft_labels import SoftLabels
from safecompress.proposals.student import Student
from safecompress.proposals.unpair import UNPAIRING, Unpair
from safecompress.proposals.quantize import Quantize
from safecompress.proposals.remove_channels import RemoveChannels, without_channels
from safecompress.proposals.pattern import Pattern
from safecompress.proposals.keep import Keep

# isort: on

__all__ = [
    "PROPOSALS",
    "UNPAIRING",
    "Keep",
    "Pattern",
    "Quantize",
    "RemoveChannels",
    "SoftLabels",
    "Strategy",
    "Student",
    "Unpair",
    "rigl",
    "set_",
    "update",
    "without_channels",
]
