"""`ATTACKS`: the membership attacks a configuration can name, each added below its class."""

from __future__ import annotations

from safecompress.protocols import Attack
from safecompress.registry import Registry

ATTACKS: Registry[Attack] = Registry("attack", "safecompress.attacks", Attack)

COST_OF_REFERENCES = (
    "about 0.1 s for 64 references × 20,000 rows on one core, once they are trained"
)
"""What an attack that reads reference models costs."""
