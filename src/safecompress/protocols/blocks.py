"""`by_blocks`: a function of logits and labels, row by row, in blocks that fit the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

PerRow: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_BLOCK = 1 << 17
"""Number of logits processed at a time, 1 MB in float64, which fit the processor's cache."""

_TOGETHER = 16
"""A block has a multiple of so many rows. The processor takes 2 to 16 numbers at a time, and torch
rounds the exponentials and logarithms of those that are left at the end differently in the last
bit. In whole vectors, rows that are alike come out alike, wherever they stand."""


def by_blocks(function: PerRow, logits: Tensor, labels: Tensor) -> Tensor:
    """Return `function(logits, labels)` of all rows, (n, …), without a copy of all of them.

    A row's value does not depend on the rows around it, not even in its last bit.

    Args:
        function: maps logits (k, classes) and labels (k,) to values (k, …), row by row.
        logits: float (n, classes).
        labels: int64 (n,).
    """
    rows = max(1, _BLOCK // max(1, logits.shape[1]) // _TOGETHER) * _TOGETHER
    # A second thread would cut a block where it likes, and so would split vectors.
    with one_thread():
        blocks = zip(torch.split(logits, rows), torch.split(labels, rows), strict=True)
        return torch.cat([_in_whole_vectors(function, z, y) for z, y in blocks])


def _in_whole_vectors(function: PerRow, logits: Tensor, labels: Tensor) -> Tensor:
    """Return `function(logits, labels)` with the last row repeated until all vectors are full."""
    missing = -len(logits) % _TOGETHER
    if not missing or not len(logits):
        return function(logits, labels)
    given = (torch.cat([t, t[-1:].expand(missing, *t.shape[1:])]) for t in (logits, labels))
    return function(*given)[: len(logits)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread within a `with` block; entering and leaving costs a microsecond."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
