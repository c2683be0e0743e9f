"""The interfaces and data types that the parts of the framework exchange.

A model maps `Rows` to `Outputs`. An `Attack` reads `Evidence` about members and non-members
(including `Internals` for a white-box attack) and returns an `AttackResult`. A `Measure` returns an
`Estimate`. A `Proposal` turns one `Candidate` into another, a `Defense` changes training, and a
`Recipe` trains a model from rows and a seed. A `TransferAttack` crafts points in a `Ball` around
rows.
"""

from safecompress.protocols.attack import Attack, AttackResult, Evidence
from safecompress.protocols.ball import NORMS, Ball, Norm, lengths
from safecompress.protocols.blocks import by_blocks, one_thread
from safecompress.protocols.estimate import Estimate
from safecompress.protocols.first_mask import (
    FirstMask,
    FirstMaskContext,
    FirstMaskStart,
    FirstMaskTraining,
)
from safecompress.protocols.groups import GroupColumn, Groups, OverlappingGroups
from safecompress.protocols.internals import Internals
from safecompress.protocols.judges import Judges
from safecompress.protocols.odds import Residuals, log_odds, residuals
from safecompress.protocols.proposal import Kept, Proposal, ProposalContext
from safecompress.protocols.reference_logits import ReferenceLogits
from safecompress.protocols.references import References
from safecompress.protocols.rows import (
    Inputs,
    Outputs,
    Pool,
    Rows,
    Table,
    leading_size,
    map_inputs,
    per_row_of_both,
    tensors_of,
)
from safecompress.protocols.signals import SIGNALS
from safecompress.protocols.source_rows import SourceRows
from safecompress.protocols.span import InputRange
from safecompress.protocols.training import Batch, Defense, ModelLike, Recipe, TrainingContext
from safecompress.protocols.transfer import Source, TransferAttack

__all__ = [
    "NORMS",
    "SIGNALS",
    "Attack",
    "AttackResult",
    "Ball",
    "Batch",
    "Defense",
    "Estimate",
    "Evidence",
    "FirstMask",
    "FirstMaskContext",
    "FirstMaskStart",
    "FirstMaskTraining",
    "GroupColumn",
    "Groups",
    "InputRange",
    "Inputs",
    "Internals",
    "Judges",
    "Kept",
    "ModelLike",
    "Norm",
    "Outputs",
    "OverlappingGroups",
    "Pool",
    "Proposal",
    "ProposalContext",
    "Recipe",
    "ReferenceLogits",
    "References",
    "Residuals",
    "Rows",
    "Source",
    "SourceRows",
    "Table",
    "TrainingContext",
    "TransferAttack",
    "by_blocks",
    "leading_size",
    "lengths",
    "log_odds",
    "map_inputs",
    "one_thread",
    "per_row_of_both",
    "residuals",
    "tensors_of",
]
