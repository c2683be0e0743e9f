"""`bump`, `bumps`, `bumps_all_over`: the changes that the Square attack makes under an L2 norm."""

from __future__ import annotations

import torch
from torch import Tensor

_TILES = 5


def bump(rows: int, columns: int) -> Tensor:
    """Return a sum of nested rectangles around the middle, the k-th of height 1 / k².

    The result is float32 (rows, columns), of L2 norm 1.

    Args:
        rows: height in pixels, at least 1.
        columns: width in pixels, at least 1.

    Reference: Andriushchenko et al., ECCV 2020, section 3.3: heights fall with the distance from
    the middle, as gradients of convolutional networks do.
    """
    heights = torch.zeros(rows, columns)
    middle = rows // 2 + 1, columns // 2 + 1
    for k in range(max(middle)):
        top, left = middle[0] - 1 - k, middle[1] - 1 - k
        width = 2 * k + 1
        vertical = slice(max(top, 0), min(top + width, rows))
        horizontal = slice(max(left, 0), min(left + width, columns))
        heights[vertical, horizontal] += 1 / (k + 1) ** 2
    normalized: Tensor = heights / heights.norm()
    return normalized


def bumps(side: int, draw: torch.Generator) -> Tensor:
    """Return a square window of two bumps of opposite signs, one above or beside the other.

    The result is float32 (side, side), of L2 norm 1.

    Args:
        side: side of the window in pixels, at least 1; a side of 1 holds a single bump.
        draw: random generator of the orientation.
    """
    half = side // 2
    window = torch.cat([bump(half, side), -bump(side - half, side)]) if half else bump(side, side)
    window = window / torch.linalg.vector_norm(window)
    transposed: Tensor = window.T.contiguous()
    return transposed if bool(torch.rand((), generator=draw) > 0.5) else window


def bumps_all_over(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Return an image tiled with about 5 × 5 windows of bumps, with random signs per channel.

    Args:
        shape: (channels, height, width).
        draw: random generator of the signs and orientations.

    Returns:
        float32, of the given shape.
    """
    channels, rows, columns = shape
    image = torch.zeros(shape)
    side = max(1, min(rows, columns) // _TILES)
    for top in range((rows % side) // 2, rows - side + 1, side):
        for left in range((columns % side) // 2, columns - side + 1, side):
            signs = 2.0 * torch.randint(0, 2, (channels, 1, 1), generator=draw) - 1.0
            image[:, top : top + side, left : left + side] += bumps(side, draw) * signs
    return image
