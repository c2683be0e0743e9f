"""Changes to training that hide members."""

from __future__ import annotations

from safecompress.defenses.registry import DEFENSES

__all__ = ["DEFENSES"]
