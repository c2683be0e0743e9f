"""Augmentation of image batches as whole-batch tensor operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from safecompress.errors import ConfigError
from safecompress.protocols import Inputs


def require_images(inputs: Inputs) -> None:
    """Raise ConfigError unless the inputs are one tensor of images."""
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return
    found = (
        f"inputs of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else "several inputs"
    )
    raise ConfigError(
        f"train.augment: crop-flip needs images (n, channels, height, width), got {found}; "
        "set augment: none."
    )


def crop_flip(images: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Return randomly shifted and mirrored copies of images.

    Every image is padded with zeros, cropped back to its size at a place of its own, and mirrored
    left to right with probability one half.

    Args:
        images: (n, channels, height, width).
        generator: CPU generator of the places and mirrorings; the same on every device.
        padding: pixels added on every side.

    Returns:
        Tensor of the same shape and type.
    """
    n, channels, height, width = images.shape
    offsets = torch.randint(2 * padding + 1, (2, n, 1), generator=generator)
    mirrored = torch.randint(2, (n, 1), generator=generator, dtype=torch.bool)
    columns = torch.arange(width).expand(n, width)
    columns = offsets[1] + torch.where(mirrored, width - 1 - columns, columns)
    padded = functional.pad(images, (padding,) * 4)
    wide, tall = width + 2 * padding, height + 2 * padding
    # Whole rows first, which is a copy of long runs; single pixels only within the rows kept.
    planes = torch.arange(n * channels).view(n, channels, 1) * tall
    rows = (planes + (offsets[0] + torch.arange(height))[:, None, :]).flatten()
    kept = padded.reshape(-1, wide).index_select(0, rows.to(images.device))
    places = columns[:, None, :].expand(n, channels * height, width).to(images.device)
    return kept.view(n, channels * height, wide).gather(2, places).view(images.shape)
