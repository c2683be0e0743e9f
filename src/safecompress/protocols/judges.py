"""`Judges`: what models that had no part in a candidate's training say of rows they never saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.errors import DataError, NonFiniteError


@dataclass(frozen=True)
class Judges:
    """Figures of rows by models that saw neither the row nor helped to label any row.

    Args:
        log_odds: float64 (k, n), log p_y − log(1 − p_y) of each row's label y by each of k judges,
            in nats; finite.
        entropy: float64 (k, n), the entropy of each judge's answer, in nats.

    Raises:
        DataError: on other shapes or dtypes, or without a single judge.
        NonFiniteError: on figures that are NaN or infinite.
    """

    log_odds: Tensor
    entropy: Tensor

    def __post_init__(self) -> None:
        shapes = tuple(self.log_odds.shape), tuple(self.entropy.shape)
        if self.log_odds.ndim != 2 or not shapes[0][0] or shapes[0] != shapes[1]:
            raise DataError(
                f"judges: log_odds {shapes[0]}, entropy {shapes[1]}; expected (k, n) for both, "
                "with at least one judge."
            )
        if {self.log_odds.dtype, self.entropy.dtype} != {torch.float64}:
            raise DataError(
                f"judges: log_odds {self.log_odds.dtype}, entropy {self.entropy.dtype}; expected "
                "torch.float64."
            )
        if not bool(torch.isfinite(self.log_odds + self.entropy).all()):
            raise NonFiniteError("judges: some figures are NaN or infinite.")

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.log_odds.shape[1]

    def take(self, index: Tensor) -> Judges:
        """Return the figures of some rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return Judges(self.log_odds[:, index], self.entropy[:, index])
