"""`FIRST_MASKS`: the first masks that a configuration can name as `sparse.initialize`.

Each first mask is added below its class or factory, in its own file.
"""

from __future__ import annotations

from safecompress.protocols import FirstMask
from safecompress.registry import Registry

FIRST_MASKS: Registry[FirstMask] = Registry("first mask", "safecompress.first_masks", FirstMask)
