"""Attacks that craft inputs: on a model the attacker holds, or by asking the one he attacks.

An attack takes rows in units (0 to 1 between the least and the greatest value of an input), so a
ball means the same for every preprocessing; of text it takes embeddings. `space_of` makes both of a
pair's rows. `craft` runs a `TransferAttack`, `hunt_down` a
`QueryAttack` within its budget.
"""

from safecompress.attacks.transfer.adaptive import (
    MASKED_BELOW,
    Transferred,
    adaptive_attackers,
    drawn_targets,
    retrained,
    right_on_both,
    transferred,
)
from safecompress.attacks.transfer.aim import Aim, input_gradient
from safecompress.attacks.transfer.craft import craft
from safecompress.attacks.transfer.diverse import DiverseInputs
from safecompress.attacks.transfer.embeddings import InEmbeddings
from safecompress.attacks.transfer.gfcs import Gfcs
from safecompress.attacks.transfer.gradients import gives_gradients
from safecompress.attacks.transfer.hunt import BUDGET, Hunt, Hunted, QueryAttack, hunt_down
from safecompress.attacks.transfer.momentum import MomentumFgsm
from safecompress.attacks.transfer.pgd import Fgsm, Pgd
from safecompress.attacks.transfer.questions import ByQuestions
from safecompress.attacks.transfer.registry import QUERY_ATTACKS, TRANSFER_ATTACKS
from safecompress.attacks.transfer.rgf import PriorRgf, Rgf
from safecompress.attacks.transfer.saving import QuerySaving, query_saving, success_curve
from safecompress.attacks.transfer.space import EMBEDDED_RADII, RADII, Space, space_of
from safecompress.attacks.transfer.square import Square
from safecompress.attacks.transfer.units import InUnits
from safecompress.protocols import InputRange, TransferAttack

__all__ = [
    "BUDGET",
    "EMBEDDED_RADII",
    "MASKED_BELOW",
    "QUERY_ATTACKS",
    "RADII",
    "TRANSFER_ATTACKS",
    "Aim",
    "ByQuestions",
    "DiverseInputs",
    "Fgsm",
    "Gfcs",
    "Hunt",
    "Hunted",
    "InEmbeddings",
    "InUnits",
    "InputRange",
    "MomentumFgsm",
    "Pgd",
    "PriorRgf",
    "QueryAttack",
    "QuerySaving",
    "Rgf",
    "Space",
    "Square",
    "TransferAttack",
    "Transferred",
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
