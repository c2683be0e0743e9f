"""`Unused`, `unused_parameters`: what takes no part in a model's predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from safecompress.errors import FOREIGN
from safecompress.models.adapt import call
from safecompress.protocols import Rows, map_inputs
from safecompress.randomness import seeded
from safecompress.train.predict import mode

_ROWS = 256
"""Rows that are asked; a part that is only used for some rows is found by many of them."""
_BATCH = 32
_SHOWN = 3


@dataclass(frozen=True)
class Unused:
    """Parameters that no prediction uses.

    Args:
        names: first names of those that require a gradient and get none.
        size: number of their entries.
    """

    names: frozenset[str] = frozenset()
    size: int = 0

    @property
    def sentence(self) -> str:
        """What is said of them."""
        names = sorted(self.names)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        listed = ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
        return (
            f"model: no prediction uses {self.size:,} parameters ({listed}), such as heads that "
            "answer in training only; they stay dense, and the density does not count them"
        )


def unused_parameters(module: nn.Module, rows: Rows) -> Unused:
    """Return the parameters to which no gradient of a prediction flows.

    Args:
        module: any model, left as it is.
        rows: rows of the data; of the first few hundred as many are asked as are needed.
    """
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not parameters:
        return Unused()
    device = next(iter(parameters.values())).device
    buffers = [(b, b.clone()) for b in module.buffers()]
    left = dict(parameters)
    try:
        with mode(module, training=False), seeded(0, "unused"), torch.enable_grad():
            for start in range(0, min(_ROWS, len(rows)), _BATCH):
                few = rows.take(torch.arange(start, min(start + _BATCH, len(rows))))
                inputs = map_inputs(lambda t: t.to(device), few.inputs)
                found = torch.autograd.grad(
                    call(module, inputs).sum(), list(left.values()), allow_unused=True
                )
                pairs = zip(left.items(), found, strict=True)
                left = {name: p for (name, p), gradient in pairs if gradient is None}
                if not left:
                    break
    except FOREIGN:
        # A model whose answers have no gradient is refused by the rehearsal, with the reason.
        return Unused()
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
    return Unused(frozenset(left), sum(p.numel() for p in left.values()))
