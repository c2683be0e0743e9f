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
    feature as feature,
    smoothed as smoothed,
    rgf as rgf,
    gfcs as gfcs,
    square as square,
)

# isort: on
from safecompress.attacks.transfer.adaptive import (
    adaptive_attackers,
    drawn_targets,
    right_on_both,
    surrogate_attackers,
    transferred,
)
from safecompress.attacks.transfer.aim import Aim, input_gradient
from safecompress.attacks.transfer.craft import craft
from safecompress.attacks.transfer.diverse import DiverseInputs
from safecompress.attacks.transfer.embeddings import EmbeddingInputModel
from safecompress.attacks.transfer.feature import FeatureFgsm
from safecompress.attacks.transfer.gfcs import Gfcs
from safecompress.attacks.transfer.gradients import gives_gradients
from safecompress.attacks.transfer.masking import GradientSigns, gradient_signs
from safecompress.attacks.transfer.momentum import MomentumFgsm
from safecompress.attacks.transfer.outcome import MASKED_BELOW, TransferOutcome
from safecompress.attacks.transfer.pgd import Fgsm, Pgd
from safecompress.attacks.transfer.query_attack import (
    BUDGET,
    QueryAttack,
    QueryResult,
    QueryTask,
    hunt_down,
)
from safecompress.attacks.transfer.query_transfer import QueryTransfer
from safecompress.attacks.transfer.retrain import Retraining, forgotten, retrained
from safecompress.attacks.transfer.rgf import PriorRgf, Rgf
from safecompress.attacks.transfer.saving import QuerySaving, query_saving, success_curve
from safecompress.attacks.transfer.smoothed import SmoothedFgsm
from safecompress.attacks.transfer.smoothing import blurred, is_image, noisy
from safecompress.attacks.transfer.space import EMBEDDED_RADII, RADII, Space, single, space_of
from safecompress.attacks.transfer.square import Square
from safecompress.attacks.transfer.surrogates import Ensemble, Surrogates, surrogates
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
    "Ensemble",
    "FeatureFgsm",
    "Fgsm",
    "Gfcs",
    "GradientSigns",
    "InputRange",
    "MomentumFgsm",
    "Pgd",
    "PriorRgf",
    "QueryAttack",
    "QueryResult",
    "QuerySaving",
    "QueryTask",
    "QueryTransfer",
    "Retraining",
    "Rgf",
    "SmoothedFgsm",
    "Space",
    "Square",
    "Surrogates",
    "TransferAttack",
    "TransferOutcome",
    "UnitInputModel",
    "adaptive_attackers",
    "blurred",
    "craft",
    "drawn_targets",
    "forgotten",
    "gives_gradients",
    "gradient_signs",
    "hunt_down",
    "input_gradient",
    "is_image",
    "noisy",
    "query_saving",
    "retrained",
    "right_on_both",
    "single",
    "space_of",
    "success_curve",
    "surrogate_attackers",
    "surrogates",
    "transferred",
]
