"""`TransferSet`: rows beside those trained on, whose only labels are soft."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from safecompress.errors import DataError
from safecompress.protocols import Inputs, Rows
from safecompress.protocols.rows import leading_size


@dataclass(frozen=True)
class TransferSet:
    """Rows that take the place of a share of every batch, with the labels to learn.

    Args:
        inputs: of n rows, at least one, in the form of the rows trained on.
        soft_labels: class probabilities, float32 (n, classes).
        share: probability in (0, 1] that a place of a batch goes to one of them.

    Raises:
        DataError: when there is no row, or not one label per row.
    """

    inputs: Inputs
    soft_labels: Tensor
    share: float

    def __post_init__(self) -> None:
        n = leading_size(self.inputs)
        if not n or n != len(self.soft_labels):
            raise DataError(
                f"transfer set: {n} rows with {len(self.soft_labels)} soft labels; expected one "
                "label for every row, and at least one row."
            )

    def __len__(self) -> int:
        return len(self.soft_labels)

    @cached_property
    def rows(self) -> Rows:
        """The rows with the teachers' likeliest class as label, and ids below 0: none is a row."""
        labels = self.soft_labels.argmax(1)
        return Rows(self.inputs, labels, -1 - torch.arange(len(self)))

    def placed(self, index: Tensor, *, own: int, source: torch.Generator) -> Tensor:
        """Return the positions of a batch after rows of this set have taken their places.

        Args:
            index: int64 (b,), positions among the rows trained on.
            own: number of the rows trained on; positions from there on are rows of this set.
            source: draws places and rows, on the CPU.
        """
        drawn = torch.rand(len(index), generator=source) < self.share
        rows = torch.randint(len(self), (len(index),), generator=source)
        return torch.where(drawn.to(index.device), (own + rows).to(index.device), index)
