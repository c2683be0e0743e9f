"""`midranks`: the ranks of values, equal ones sharing the mean of theirs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, 1 for the smallest.

    It equals `scipy.stats.rankdata`, whose package takes as long to import as a small audit runs.

    Args:
        values: float64 (n,) without NaN.

    Returns:
        float64 (n,).
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], dtype=np.float64)
