"""`crossed` and `partners`: new rows, every value of which is that of one of two parents."""

from __future__ import annotations

import torch
from torch import Tensor


def crossed(first: Tensor, second: Tensor, source: torch.Generator) -> Tensor:
    """Return n rows, each a mixture of two parents; no value is from elsewhere.

    Images (n, channels, height, width) keep the first parent outside one box and show the second
    inside, in all channels; the box covers a share of the image that is uniform in [0, 1] before
    the image's edges cut it. Of any other shape, each value is from either parent with equal
    chances: tables are mixed feature by feature, and bags of words word by word.

    Args:
        first: the first parents, (n, ...).
        second: the second parents, of the same shape and type.
        source: draws the mixtures, on the CPU.

    Reference: for images, CutMix, Yun et al., ICCV 2019, section 3.1.
    """
    if first.ndim == 4:
        taken = _boxes(*first.shape[-2:], n=len(first), source=source).unsqueeze(1)
    else:
        taken = torch.rand(first.shape, generator=source) < 0.5
    return torch.where(taken.to(first.device), second, first)


def _boxes(height: int, width: int, *, n: int, source: torch.Generator) -> Tensor:
    """Return n boxes as bool masks, (n, height, width)."""
    side = torch.rand(n, 1, generator=source).sqrt()

    def inside(size: int) -> Tensor:
        center = torch.rand(n, 1, generator=source) * size
        place = torch.arange(size) + 0.5
        return (place - center).abs() < side * size / 2

    return inside(height).unsqueeze(2) & inside(width).unsqueeze(1)


def partners(folds: Tensor, source: torch.Generator) -> Tensor:
    """Return for each row another row of its fold, or itself where the fold has no other.

    Args:
        folds: int64 (n,), the fold of each row.
        source: draws the rows, on the CPU.

    Returns:
        Positions, int64 (n,).
    """
    found = torch.arange(len(folds))
    for fold in torch.unique(folds):
        rows = torch.nonzero(folds == fold).squeeze(1)
        if len(rows) > 1:
            steps = torch.randint(1, len(rows), rows.shape, generator=source)
            found[rows] = rows[(torch.arange(len(rows)) + steps) % len(rows)]
    return found
