"""Changes to training that hide members or a parent model, or train weights towards a mask."""

from __future__ import annotations

from safecompress.defenses.registry import DEFENSES

# Importing a module registers its defenses, so this is the order in which they are listed.
# isort: off
from safecompress.defenses import (
    adversarial as adversarial,
    label_smoothing as label_smoothing,
    entropy as entropy,
    relax_loss as relax_loss,
    ppb as ppb,
    hamp as hamp,
    past as past,
    wemem as wemem,
    dropout as dropout,
    early_stopping as early_stopping,
    distillation as distillation,
    dp_sgd as dp_sgd,
    unpairing as unpairing,
)

# isort: on
from safecompress.defenses.admm import Admm
from safecompress.defenses.dp_sgd import DpSgd, Spent, epsilon
from safecompress.defenses.gradual import Gradual
from safecompress.defenses.support import Scope, support

__all__ = [
    "DEFENSES",
    "Admm",
    "DpSgd",
    "Gradual",
    "Scope",
    "Spent",
    "epsilon",
    "support",
]
