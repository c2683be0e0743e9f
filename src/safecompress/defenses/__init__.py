"""Changes to training that hide members."""

from __future__ import annotations

from safecompress.defenses.admm import METHODS as ADMM_METHODS
from safecompress.defenses.admm import Admm
from safecompress.defenses.dp_sgd import DpSgd, Spent, epsilon
from safecompress.defenses.registry import DEFENSES

__all__ = ["ADMM_METHODS", "DEFENSES", "Admm", "DpSgd", "Spent", "epsilon"]
