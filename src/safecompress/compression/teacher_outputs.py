"""`TeacherOutputs`: what the teachers of a run say about rows that they never saw."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from safecompress.protocols import Pool, References
from safecompress.train import TransferSet


@dataclass(frozen=True)
class TeacherOutputs:
    """The teachers' outputs on rows that they were not trained on.

    Args:
        labels: mean class probabilities, float32 (members, classes), in the order of the members.
        references: log-odds of each steering row by the same number of teachers, none of which was
            trained on it.
        transfer: rows beside the members that candidates train on; None where the configuration
            asks for none.
    """

    labels: Tensor
    references: Pool[References]
    transfer: TransferSet | None = None
