"""Simulated membership attackers, and the controls that test them."""

from __future__ import annotations

from safecompress.attacks.registry import ATTACKS

__all__ = ["ATTACKS"]
