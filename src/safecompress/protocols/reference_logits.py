"""`ReferenceLogits`: logits of reference models on rows, chosen by index and copied in blocks only.

An attack that compares whole answers needs the logits of every reference on every row. They are
the largest thing an audit holds, so rows are taken, models chosen and groups joined by their
positions, and nothing is copied but the block of rows that is being read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReferenceLogits:
    """A view of reference models' logits: for each row, which models in which order.

    Args:
        stores: float (models, rows, classes) each; what was given, never copied.
        rows: int64 (n,), the position of each row among the rows of all stores, end to end.
        models: int64 (k, n), the models of each row by their positions in the stores.
    """

    stores: tuple[Tensor, ...]
    rows: Tensor
    models: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> ReferenceLogits:
        """Return the view of all models on all rows.

        Args:
            logits: float (k, n, classes).
        """
        models, rows = logits.shape[:2]
        every = torch.arange(models).unsqueeze(1).expand(models, rows)
        return cls((logits,), torch.arange(rows), every)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @property
    def count(self) -> int:
        """Number of reference models of each row."""
        return len(self.models)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.stores[0].shape[2]

    def take(self, index: Tensor) -> ReferenceLogits:
        """Return the view of some rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return ReferenceLogits(self.stores, self.rows[index], self.models[:, index])

    def of_models(self, index: Tensor) -> ReferenceLogits:
        """Return the view of some models, which may differ from row to row.

        Args:
            index: int64 (m, n), positions of the models of each row.
        """
        return ReferenceLogits(self.stores, self.rows, self.models.gather(0, index))

    def together(self, other: ReferenceLogits) -> ReferenceLogits:
        """Return the view of both groups of rows, this one's first.

        Args:
            other: other rows of as many models.
        """
        shared = len(self.stores) == len(other.stores) and all(
            one is another for one, another in zip(self.stores, other.stores, strict=True)
        )
        first = 0 if shared else sum(store.shape[1] for store in self.stores)
        return ReferenceLogits(
            self.stores if shared else (*self.stores, *other.stores),
            torch.cat([self.rows, other.rows + first]),
            torch.cat([self.models, other.models], dim=1),
        )

    def block(self, rows: slice) -> Tensor:
        """Return the logits of some rows, (k, b, classes), in the dtype that was given.

        Args:
            rows: which rows of the view.
        """
        place, models = self.rows[rows], self.models[:, rows]
        if len(self.stores) == 1:
            return self.stores[0][models, place]
        block = self.stores[0].new_empty(*models.shape, self.classes)
        first = 0
        for store in self.stores:
            inside = ((place >= first) & (place < first + store.shape[1])).nonzero().squeeze(1)
            block[:, inside] = store[models[:, inside], place[inside] - first].to(block.dtype)
            first += store.shape[1]
        return block
