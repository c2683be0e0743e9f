"""`evenly_spaced`: positions from all over a sequence."""

from __future__ import annotations

import torch
from torch import Tensor


def evenly_spaced(count: int, most: int) -> Tensor:
    """Return a few positions of a sequence: the first, the last, and others between.

    Whole numbers are divided, because float32 has no positions beyond 2²⁴.

    Args:
        count: length of the sequence, at least 0.
        most: how many positions at most, at least 1; of one, it is the last.

    Returns:
        Ascending, each once, int64 (min(count, most),).

    >>> evenly_spaced(10, 4).tolist()
    [0, 3, 6, 9]
    """
    kept = min(count, most)
    if kept == 1:
        return torch.tensor([count - 1])
    return torch.arange(kept) * (count - 1) // max(1, kept - 1)
