"""`DEFENSES`: the defenses that a configuration can name, each registered below its class."""

from __future__ import annotations

from safecompress.protocols import Defense
from safecompress.registry import Registry

DEFENSES: Registry[Defense] = Registry("defense", "safecompress.defenses", Defense)
