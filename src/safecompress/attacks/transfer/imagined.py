"""A small imaginary model and rows it is right about, for trying out attacks that craft inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safecompress.protocols import Ball

CLASSES = 3
SHAPE = (2, 6, 6)
BALLS = (Ball("linf", 0.1), Ball("l2", 0.4))


class RowByRow(nn.Module):
    """Two layers without matrix products: a row's logits are the same bits in any batch.

    Args:
        seed: of the weights.
        width: hidden units.
        scale: of the first layer's weights; larger ones make the model surer.
    """

    def __init__(self, *, seed: int, width: int = 8, scale: float = 0.6) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        size = SHAPE[0] * SHAPE[1] * SHAPE[2]
        self.first = nn.Parameter(scale * torch.randn(width, size, generator=draw))
        self.last = nn.Parameter(torch.randn(CLASSES, width, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (n, 2, 6, 6) → (n, 3)."""
        inside = torch.tanh(((x.flatten(1) - 0.5)[:, None] * self.first.to(x)).sum(dim=2))
        return (inside[:, None] * self.last.to(x)).sum(dim=2)


def rows(n: int, *, seed: int = 0) -> Tensor:
    """Return rows in [0, 1]; a few lie on the range's edge."""
    draw = torch.Generator().manual_seed(seed)
    return (1.2 * torch.rand(n, *SHAPE, generator=draw) - 0.1).clamp(0, 1)


def labeled(model: nn.Module, n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows and what the model says of them: it is right on all."""
    x = rows(n, seed=seed)
    with torch.no_grad():
        return x, model(x).argmax(dim=1)
