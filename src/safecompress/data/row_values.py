"""`RowValues`: a column of values that are found by the ids of their rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safecompress.data.raw import Array


@dataclass(frozen=True, eq=False)
class RowValues:
    """Values of rows, such as the region of each.

    Args:
        ids: int64 (n,), rising; the rows' ids.
        values: (n,), one value for each.
    """

    ids: NDArray[np.int64]
    values: Array

    @classmethod
    def of(cls, ids: NDArray[np.int64], values: Array) -> RowValues:
        """Return values of rows in any order.

        Args:
            ids: int64 (n,), unique.
            values: (n,).
        """
        order = np.argsort(ids, kind="stable")
        return cls(ids[order], values[order])

    def at(self, ids: NDArray[np.int64]) -> Array:
        """Return the values of some of the rows, in their order.

        Args:
            ids: int64 (k,), ids that have a value.
        """
        taken: Array = self.values[np.searchsorted(self.ids, ids)]
        return taken
