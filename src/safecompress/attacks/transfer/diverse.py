"""`DiverseInputs` (DI-FGSM): gradients at randomly shrunk and shifted images.

The points over-fit the source less and therefore transfer better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from safecompress.attacks.transfer.aim import Aim, input_gradient
from safecompress.attacks.transfer.iterated import IteratedAttack
from safecompress.attacks.transfer.momentum import require_decay, scaled
from safecompress.attacks.transfer.registry import TRANSFER_ATTACKS
from safecompress.attacks.transfer.smoothing import require_images
from safecompress.errors import ConfigError
from safecompress.protocols import Ball, Source


@final
@dataclass(frozen=True)
class DiverseInputs(IteratedAttack):
    """MI-FGSM whose gradients are, with some probability, taken at shrunk and zero-padded images.

    Args:
        probability: probability that the images of a step are changed, in [0, 1].
        shrink: smallest side of a shrunk image as a fraction of the image's side, in (0, 1].
        decay: factor of the previous direction, at least 0, as in MI-FGSM; 0 is plain DI-FGSM.
        step: size of a step as a fraction of the radius, > 0; None is 1 / steps.

    Reference: Xie et al., CVPR 2019, section 3.2; their smallest fraction, 299 / 331, is about 0.9.
    """

    name: ClassVar[str] = "di-fgsm"

    probability: float = 0.5
    shrink: float = 0.9
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"probability is {self.probability}; expected [0, 1].")
        if not 0 < self.shrink <= 1:
            raise ConfigError(f"shrink is {self.shrink}; expected a share in (0, 1].")
        require_decay(self.decay)
        if self.step is None:
            object.__setattr__(self, "step", 1 / self.steps)

    def gradient(
        self, source: Source, points: Tensor, aim: Aim, *, ball: Ball, draw: torch.Generator
    ) -> Tensor:
        """Return the gradient at the images, all of them shrunk and padded alike or all unchanged.

        Args:
            source: the model the attacker holds.
            points: images, float (n, channels, height, width).
            aim: the value of the n rows.
            ball: not used.
            draw: random generator of the change.

        Raises:
            UndecidableError: when the inputs are not images (n, channels, height, width).
        """
        del ball
        require_images(points, where=self.name)
        if float(torch.rand((), generator=draw)) >= self.probability:
            return input_gradient(source, points, aim)
        return input_gradient(
            lambda p: source(shrunk_and_shifted(p, shrink=self.shrink, draw=draw)), points, aim
        )

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        return self.decay * before + scaled(gradient)


TRANSFER_ATTACKS.add(
    "di-fgsm",
    DiverseInputs,
    summary="as mi-fgsm, with gradients at randomly shrunk and shifted images",
    reference="Xie et al., CVPR 2019",
    cost="a forward and a backward pass a step",
)


def shrunk_and_shifted(images: Tensor, *, shrink: float, draw: torch.Generator) -> Tensor:
    """Return images shrunk, and padded with zeros to their size, all of them alike.

    Args:
        images: float (n, channels, height, width).
        shrink: smallest side of a shrunk image as a fraction of the image's side, in (0, 1].
        draw: random generator of the size and the place.
    """
    size, top, left = torch.rand(3, generator=draw).tolist()
    height, width = images.shape[2:]
    share = shrink + size * (1 - shrink)
    small = max(1, round(share * height)), max(1, round(share * width))
    shrunk = interpolate(images, size=small, mode="nearest")
    free = height - small[0], width - small[1]
    at = round(top * free[0]), round(left * free[1])
    return pad(shrunk, (at[1], free[1] - at[1], at[0], free[0] - at[0]))
