"""First masks: what a search begins with, one idea a file, and the registry that names them."""

from __future__ import annotations

from safecompress.compression.first_masks.registry import FIRST_MASKS

# Importing a module adds its first masks, so this is the order in which they are listed.
# isort: off
from safecompress.compression.first_masks.magnitude import Magnitude
from safecompress.compression.first_masks.scratch import Scratch
from safecompress.compression.first_masks.pruned import Pruned
from safecompress.compression.first_masks.lottery import Lottery
from safecompress.compression.first_masks.snip import Snip
from safecompress.compression.first_masks.student import StudentMask

# isort: on

__all__ = [
    "FIRST_MASKS",
    "Lottery",
    "Magnitude",
    "Pruned",
    "Scratch",
    "Snip",
    "StudentMask",
]
