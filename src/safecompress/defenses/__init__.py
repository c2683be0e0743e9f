"""Changes to training that hide members, or the model that a small one was made from."""

from __future__ import annotations

from safecompress.defenses.registry import DEFENSES

__all__ = ["DEFENSES"]
