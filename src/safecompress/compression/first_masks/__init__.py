"""First masks: the weights and masks that a search begins with, one idea in each file."""

from __future__ import annotations

from safecompress.compression.first_masks.registry import FIRST_MASKS

# Each module registers its masks when it is imported, so this order is the order of listings.
# isort: off
from safecompress.compression.first_masks.magnitude import Magnitude
from safecompress.compression.first_masks.scratch import Scratch
from safecompress.compression.first_masks.pruned import Pruned
from safecompress.compression.first_masks.lottery import Lottery
from safecompress.compression.first_masks.snip import Snip, SoftSnip
from safecompress.compression.first_masks.student import StudentMask

# isort: on

__all__ = [
    "FIRST_MASKS",
    "Lottery",
    "Magnitude",
    "Pruned",
    "Scratch",
    "Snip",
    "SoftSnip",
    "StudentMask",
]
