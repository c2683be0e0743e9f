"""Attacks that craft inputs, on a model the attacker holds or by queries to the attacked model.

Attacks take rows in units (0 to 1 between the least and the greatest value of an input), so that a
radius means the same under any preprocessing; for text they take embeddings. `space_of` converts
the rows and the models of a pair. `craft` runs a `TransferAttack`, `hunt_down` runs a `QueryAttack`
within its budget.
"""

from __future__ import annotations

from safecompress.attacks.transfer.registry import QUERY_ATTACKS, TRANSFER_ATTACKS

# Importing a module adds its attacks, so this is the order in which they are listed.
# isort: off
from safecompress.attacks.transfer import (
    pgd as pgd,
    momentum as momentum,
    diverse as diverse,
    rgf as rgf,
    gfcs as gfcs,
    square as square,
)

# isort: on
from safecompress.attacks.transfer.adaptive import (
    MASKED_BELOW,
    TransferOutcome,
    adaptive_attackers,
    drawn_targets,
    retrained,
    right_on_both,
    transferred,
)
from safecompress.attacks.transfer.aim import Aim, input_gradient
from safecompress.attacks.transfer.craft import craft
from safecompress.attacks.transfer.diverse import DiverseInputs
from safecompress.attacks.transfer.embeddings import EmbeddingInputModel
from safecompress.attacks.transfer.gfcs import Gfcs
from safecompress.attacks.transfer.gradients import gives_gradients
from safecompress.attacks.transfer.momentum import MomentumFgsm
from safecompress.attacks.transfer.pgd import Fgsm, Pgd
from safecompress.attacks.transfer.query_attack import (
    BUDGET,
    QueryAttack,
    QueryResult,
    QueryTask,
    hunt_down,
)
from safecompress.attacks.transfer.query_transfer import QueryTransfer
from safecompress.attacks.transfer.rgf import PriorRgf, Rgf
from safecompress.attacks.transfer.saving import QuerySaving, query_saving, success_curve
from safecompress.attacks.transfer.space import EMBEDDED_RADII, RADII, Space, space_of
from safecompress.attacks.transfer.square import Square
from safecompress.attacks.transfer.units import UnitInputModel
from safecompress.protocols import InputRange, TransferAttack

__all__ = [
    "BUDGET",
    "EMBEDDED_RADII",
    "MASKED_BELOW",
    "QUERY_ATTACKS",
    "RADII",
    "TRANSFER_ATTACKS",
    "Aim",
    "DiverseInputs",
    "EmbeddingInputModel",
    "Fgsm",
    "Gfcs",
    "InputRange",
    "MomentumFgsm",
    "Pgd",
    "PriorRgf",
    "QueryAttack",
    "QueryResult",
    "QuerySaving",
    "QueryTask",
    "QueryTransfer",
    "Rgf",
    "Space",
    "Square",
    "TransferAttack",
    "TransferOutcome",
    "UnitInputModel",
    "adaptive_attackers",
    "craft",
    "drawn_targets",
    "gives_gradients",
    "hunt_down",
    "input_gradient",
    "query_saving",
    "retrained",
    "right_on_both",
    "space_of",
    "success_curve",
    "transferred",
]
