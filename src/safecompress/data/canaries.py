"""`Canaries`: rows that coin flips, recorded before any training, put into it or leave out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from safecompress.errors import DataError
from safecompress.protocols import Rows

CanaryKind: TypeAlias = Literal["mislabeled", "natural"]


@dataclass(frozen=True, eq=False)
class Canaries:
    """Rows whose membership a fair coin decided, one flip a row.

    Args:
        rows: all canaries, with the labels that they are trained on with.
        included: bool (n,), whether the coin put the row into the training.
        kind: `mislabeled` for labels drawn from the wrong ones, `natural` for the rows' own.

    Raises:
        DataError: when there is not one flip a row.
    """

    rows: Rows
    included: Tensor
    kind: CanaryKind

    def __post_init__(self) -> None:
        if self.included.shape != self.rows.labels.shape or self.included.dtype != torch.bool:
            raise DataError(
                f"canaries: {len(self.rows)} rows, flips {self.included.dtype} "
                f"{tuple(self.included.shape)}; expected one bool for every row."
            )

    @cached_property
    def trained_on(self) -> Rows:
        """The canaries that the coin put into the training."""
        return self.rows.take(self.included)

    @cached_property
    def held_out(self) -> Rows:
        """The canaries that the coin left out."""
        return self.rows.take(~self.included)

    def to_json(self) -> dict[str, Any]:
        """Return what a run records before it trains: ids, labels and flips, in one order."""
        return {
            "kind": self.kind,
            "ids": self.rows.ids.tolist(),
            "labels": self.rows.labels.tolist(),
            "included": self.included.tolist(),
        }
