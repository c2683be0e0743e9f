"""`smallest`, `largest` and `places`: exact choice of n scores, with ties settled by position."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_SAMPLE = 1 << 15
"""Number of values, at least, that are sampled to estimate the n-th smallest of a longer tensor."""


def smallest(values: Tensor, n: int) -> Tensor:
    """Return the positions of the `n` smallest values; of equal values the first positions win.

    Exactly `n` positions are returned however many values are equal, and they do not depend on the
    order in which a selection algorithm visits equal values. The cost is O(len(values)); where few
    of many values are chosen, it is little more than one comparison with each value.

    Args:
        values: (m,) of any real type, on the CPU, without NaN.
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
    few = _few_smallest(numbers, n)
    if few is not None:
        return few[smallest(numbers[few], n)]
    # NumPy's partition is several times faster than torch.topk and kthvalue at millions of values.
    threshold = float(np.partition(numbers.numpy(), n - 1)[n - 1])
    chosen = places(numbers <= threshold)
    excess = len(chosen) - n
    if excess:
        tied = places(numbers[chosen] == threshold)
        stays = torch.ones(len(chosen), dtype=torch.bool)
        stays[tied[-excess:]] = False
        chosen = chosen[stays]
    return chosen


def places(chosen: Tensor) -> Tensor:
    """Return the positions at which a mask is True, int64 and ascending.

    Args:
        chosen: bool (m,), on the CPU.
    """
    # NumPy is nearly twice as fast here as torch.nonzero.
    return torch.from_numpy(np.flatnonzero(chosen.numpy()))


def _few_smallest(numbers: Tensor, n: int) -> Tensor | None:
    """Return ascending positions of few values that include the `n` smallest and all their ties.

    Selecting among few values is faster. Returns None where it would save nothing, or where the
    sample led to a threshold that is too small or too large.
    """
    every = len(numbers) // _SAMPLE
    if every < 2 or n > len(numbers) // 8:
        return None
    sample = numbers[::every].contiguous().numpy()
    # The sample holds about n / every of the n smallest values. A rank four standard deviations
    # higher makes it unlikely that the guessed threshold is too small.
    share = n / every
    rank = math.ceil(share + 4.0 * math.sqrt(share) + 4.0)
    guess = float(np.partition(sample, rank)[rank])
    few = places(numbers <= guess)
    return few if n <= len(few) <= len(numbers) // 4 else None


def largest(values: Tensor, n: int) -> Tensor:
    """Return the positions of the `n` largest values; of equal values the first positions win.

    Args:
        values: (m,) of any real type, on the CPU, without NaN.
        n: how many, in [0, m].

    Returns:
        int64 (n,) positions, ascending.
    """
    return smallest(-_comparable(values), n)


def _comparable(values: Tensor) -> Tensor:
    """Return the values in a type that NumPy can order, without changing their order."""
    if values.dtype in (torch.float32, torch.float64):
        return values
    return values.float() if values.is_floating_point() else values.double()
