"""The few shapes everything else fills.

`Rows` go into a model, `Outputs` come out; an `Attack` reads `Evidence` about two groups of rows,
members and non-members (with `Internals` where somebody holds the model), and ends in an
`AttackResult`; a `Measure` turns what is known about a model into an `Estimate`; a `Proposal` turns
one `Candidate` into another; a `Defense` adds to the training loss; a `Recipe` makes a trained
model from rows and a seed.
"""

from safecompress.protocols.attack import Attack, AttackResult, Evidence, References
from safecompress.protocols.estimate import Estimate
from safecompress.protocols.internals import Internals
from safecompress.protocols.odds import Residuals, log_odds, residuals
from safecompress.protocols.proposal import Proposal, ProposalContext
from safecompress.protocols.rows import (
    Inputs,
    Outputs,
    Pool,
    Rows,
    leading_size,
    map_inputs,
    tensors_of,
)
from safecompress.protocols.training import Batch, Defense, ModelLike, Recipe, TrainingContext

__all__ = [
    "Attack",
    "AttackResult",
    "Batch",
    "Defense",
    "Estimate",
    "Evidence",
    "Inputs",
    "Internals",
    "ModelLike",
    "Outputs",
    "Pool",
    "Proposal",
    "ProposalContext",
    "Recipe",
    "References",
    "Residuals",
    "Rows",
    "TrainingContext",
    "leading_size",
    "log_odds",
    "map_inputs",
    "residuals",
    "tensors_of",
]
