"""Exact choice of the n smallest or largest scores, with ties settled by position."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def smallest(values: Tensor, n: int) -> Tensor:
    """Return the positions of the `n` smallest values; of equal values the first positions win.

    Exactly `n` positions come back however many values are equal, and they do not depend on the
    order in which a selection algorithm happens to visit ties. Partial selection: O(len(values)).

    Args:
        values: CPU (m,), finite.
        n: how many, in [0, m].

    Returns:
        int64 (n,) positions, ascending.

    >>> smallest(torch.tensor([3.0, 1.0, 1.0, 1.0]), 2)
    tensor([1, 2])
    """
    if n <= 0:
        return torch.empty(0, dtype=torch.int64)
    if n >= len(values):
        return torch.arange(len(values))
    numbers = _comparable(values)
    # NumPy's partition is several times faster than torch.topk and kthvalue at millions of values.
    threshold = float(np.partition(numbers.numpy(), n - 1)[n - 1])
    chosen = (numbers <= threshold).nonzero().squeeze(1)
    excess = len(chosen) - n
    if excess:
        tied = (numbers[chosen] == threshold).nonzero().squeeze(1)
        stays = torch.ones(len(chosen), dtype=torch.bool)
        stays[tied[-excess:]] = False
        chosen = chosen[stays]
    return chosen


def largest(values: Tensor, n: int) -> Tensor:
    """Return the positions of the `n` largest values; of equal values the first positions win.

    Args and returns are those of `smallest`.
    """
    return smallest(-_comparable(values), n)


def _comparable(values: Tensor) -> Tensor:
    """Return the values in a type that NumPy can order, without changing their order."""
    if values.dtype in (torch.float32, torch.float64):
        return values
    return values.float() if values.is_floating_point() else values.double()
