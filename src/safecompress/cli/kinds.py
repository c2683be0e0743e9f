"""`KINDS`: the registry of every kind of part, by the name that `safecompress list` takes."""

from __future__ import annotations

from typing import Any

from safecompress.attacks import ATTACKS
from safecompress.attacks.transfer import QUERY_ATTACKS, TRANSFER_ATTACKS
from safecompress.checks import MEASURES, OBJECTIVES
from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.data import SOURCES
from safecompress.defenses import DEFENSES
from safecompress.export import FORMATS
from safecompress.models import MODELS
from safecompress.proposals import PROPOSALS
from safecompress.registry import Registry
from safecompress.sparse import DROP_RULES, GROW_RULES

KINDS: dict[str, Registry[Any]] = {
    "models": MODELS,
    "first-masks": FIRST_MASKS,
    "proposals": PROPOSALS,
    "drop": DROP_RULES,
    "grow": GROW_RULES,
    "attacks": ATTACKS,
    "transfer": TRANSFER_ATTACKS,
    "queries": QUERY_ATTACKS,
    "defenses": DEFENSES,
    "objectives": OBJECTIVES,
    "measures": MEASURES,
    "sources": SOURCES,
    "formats": FORMATS,
}
"""Importing this imports every part, which takes seconds; `list` reads `parts.json` instead."""
