"""`crop_flip`: random crops and mirrorings of images, as operations on the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from safecompress.errors import ConfigError
from safecompress.protocols import Inputs


def require_images(inputs: Inputs) -> None:
    """Raise ConfigError unless the inputs are one tensor of images.

    Args:
        inputs: a tensor, or a tuple or mapping of tensors.
    """
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return
    given = (
        f"inputs of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else "several inputs"
    )
    raise ConfigError(
        f"train.augment: crop-flip needs images (n, channels, height, width), got {given}; "
        "set augment: none."
    )


def crop_flip(images: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Return randomly shifted and mirrored copies of images.

    Every image is padded with zeros, cropped back to its size at a random offset, and mirrored left
    to right with probability one half; each image draws independently.

    Args:
        images: (n, channels, height, width).
        generator: CPU generator of offsets and mirrorings, so that devices draw the same.
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
    # Copying whole rows of pixels is fast; so pixels are gathered one by one only within the rows
    # that stay.
    planes = torch.arange(n * channels).view(n, channels, 1) * tall
    rows = (planes + (offsets[0] + torch.arange(height))[:, None, :]).flatten()
    kept = padded.reshape(-1, wide).index_select(0, rows.to(images.device))
    places = columns[:, None, :].expand(n, channels * height, width).to(images.device)
    return kept.view(n, channels * height, wide).gather(2, places).view(images.shape)
