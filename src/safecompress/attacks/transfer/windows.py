"""Bumps: the L2 shapes of the Square attack, which put most of a change into few pixels."""

from __future__ import annotations

import torch
from torch import Tensor

_TILES = 5


def bump(rows: int, columns: int) -> Tensor:
    """Return nested rectangles around the middle, each adding 1 / k², of length 1; float32.

    Reference: Andriushchenko et al., ECCV 2020, section 3.3: heights fall with the distance from
    the middle, as gradients of convolutional networks do.
    """
    made = torch.zeros(rows, columns)
    middle = rows // 2 + 1, columns // 2 + 1
    for k in range(max(middle)):
        top, left = middle[0] - 1 - k, middle[1] - 1 - k
        width = 2 * k + 1
        made[max(top, 0) : min(top + width, rows), max(left, 0) : min(left + width, columns)] += (
            1 / (k + 1) ** 2
        )
    shaped: Tensor = made / made.norm()
    return shaped


def bumps(side: int, draw: torch.Generator) -> Tensor:
    """Return a window of two bumps of opposite signs, lying or standing, of length 1."""
    half = side // 2
    made = torch.cat([bump(half, side), -bump(side - half, side)]) if half else bump(side, side)
    made = made / torch.linalg.vector_norm(made)
    turned: Tensor = made.T.contiguous()
    return turned if bool(torch.rand((), generator=draw) > 0.5) else made


def bumps_all_over(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Return an image of about 5 × 5 windows of bumps, of random signs in every channel.

    Args:
        shape: (channels, height, width).
        draw: source of signs and directions.
    """
    channels, rows, columns = shape
    made = torch.zeros(shape)
    side = max(1, min(rows, columns) // _TILES)
    for top in range((rows % side) // 2, rows - side + 1, side):
        for left in range((columns % side) // 2, columns - side + 1, side):
            signs = 2.0 * torch.randint(0, 2, (channels, 1, 1), generator=draw) - 1.0
            made[:, top : top + side, left : left + side] += bumps(side, draw) * signs
    return made
