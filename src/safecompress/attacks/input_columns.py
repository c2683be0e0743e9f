"""`input_columns`: model-ready inputs as few columns of numbers, for attacks that compare rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from safecompress.protocols import Rows, tensors_of
from safecompress.randomness import generator

_BUCKETS = 65_536
_WORD_WIDTH = 64


def input_columns(rows: Rows, *, width: int, seed: int, name: str) -> Tensor:
    """Return the inputs, at most `width` columns per tensor, float64 (n, columns).

    A row's columns depend on no other row. Integers are tokens and become a bag of words; wider
    inputs are projected at random, which keeps distances up to a few percent.

    Args:
        rows: the rows.
        width: largest number of columns per tensor, at least 1.
        seed: seed of the projections.
        name: names the projections, so that attacks draw their own.
    """
    return torch.cat(
        [
            _narrow(t.reshape(len(t), -1).cpu(), width, generator(seed, name, place))
            for place, t in enumerate(tensors_of(rows.inputs))
        ],
        dim=1,
    )


def _narrow(x: Tensor, width: int, source: torch.Generator) -> Tensor:
    if not x.is_floating_point() and x.dtype != torch.bool:
        table = torch.randn(_BUCKETS, min(width, _WORD_WIDTH), generator=source)
        bags: Tensor = embedding_bag(x.long() % _BUCKETS, table, mode="sum")
        return bags.double()
    x = x.double()
    if x.shape[1] <= width:
        return x
    drawn = torch.randn(x.shape[1], width, generator=source, dtype=torch.float64)
    return torch.mm(x, drawn / float(x.shape[1]) ** 0.5)
