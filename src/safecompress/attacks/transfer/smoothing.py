"""`blurred`, `noise_unit`, `is_image`: what attackers smooth gradients with.

A model can hide the gradient that transfers under a larger one of high frequency. A blur of the
gradient, or its mean over noise on the input, removes that and leaves what transfers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Ball

IMAGE_DIMENSIONS = 4
_WIDTHS = 3
"""Standard deviations after which the Gaussian kernel is cut off."""


def is_image(x: Tensor) -> bool:
    """Return whether rows are images, (n, channels, height, width).

    Args:
        x: rows, (n, …).
    """
    return x.ndim == IMAGE_DIMENSIONS


def require_images(x: Tensor, *, where: str) -> None:
    """Raise an error for rows that are not images.

    Args:
        x: rows, (n, …).
        where: name of the part that needs images, for the message.

    Raises:
        UndecidableError: naming the shape.
    """
    if not is_image(x):
        raise UndecidableError(
            f"{where}: needs images (n, channels, height, width), got inputs of shape "
            f"{tuple(x.shape)}."
        )


def require_noise(noise: float, *, option: str) -> None:
    """Raise an error for a standard deviation that is negative or infinite.

    Args:
        noise: the standard deviation.
        option: its name, for the message.

    Raises:
        ConfigError: with the number.
    """
    if not 0 <= noise < math.inf:
        raise ConfigError(f"{option} is {noise}; expected a finite number, at least 0.")


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return images after a Gaussian blur of every channel, of the same shape.

    Pixels beyond the edge count as 0. The sum is over shifted copies and not by a convolution of
    the library, whose last bits for one image can depend on the others in the batch.

    Args:
        images: float (n, channels, height, width); gradients of images, as a rule.
        sigma: standard deviation of the kernel in pixels, at least 0; 0 blurs nothing.
    """
    if not sigma:
        return images
    reach = math.ceil(_WIDTHS * sigma)
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    total = sum(weights)
    for axis, edges in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        size = images.shape[axis]
        wide = pad(images, edges)
        images = torch.zeros_like(images)
        for k, weight in enumerate(weights):
            images = images + weight / total * wide.narrow(axis, k, size)
    return images


def noise_unit(points: Tensor, ball: Ball) -> Tensor:
    """Return the size that noise on points is a fraction of, broadcastable to them; 0 where fixed.

    It is the width of the input range. Embeddings have no range; there it is the root mean square
    of a row's numbers that may change.

    Args:
        points: float (n, …).
        ball: has the range, and which numbers may change.
    """
    moving = (
        torch.ones_like(points) if ball.moving is None else ball.moving(points).expand_as(points)
    ).to(points)
    width = ball.high - ball.low
    if math.isfinite(width):
        return moving * width
    inside = (points.detach() * moving).flatten(1)
    count = moving.flatten(1).sum(dim=1).clamp(min=1)
    size = (inside.square().sum(dim=1) / count).sqrt()
    return moving * size.reshape(-1, *[1] * (points.ndim - 1))


def noisy(points: Tensor, around: Tensor, noise: float, *, ball: Ball) -> Tensor:
    """Return points with noise, differentiable in the points, (n, …).

    Args:
        points: float (n, …).
        around: standard normal numbers, float (n, …), or (…) for the same noise on every row.
        noise: standard deviation as a fraction of `noise_unit`, at least 0.
        ball: has the input range, and which numbers may change.
    """
    return points + noise * noise_unit(points, ball) * around.to(points)
