"""DI-FGSM: gradients at randomly shrunk and shifted images, which fit the source less closely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from safecompress.attacks.transfer.iterated import IteratedAttack
from safecompress.attacks.transfer.momentum import scaled
from safecompress.attacks.transfer.registry import TRANSFER_ATTACKS
from safecompress.errors import ConfigError, UndecidableError

_IMAGE_DIMENSIONS = 4


@final
@dataclass(frozen=True)
class DiverseInputs(IteratedAttack):
    """With some probability the source sees the image made smaller, at a random place on zeros.

    Args:
        probability: of a changed image in a step, in [0, 1].
        shrink: smallest side as a share of the image's, in (0, 1].
        decay: momentum as in MI-FGSM; 0 is plain DI-FGSM.
        step: size of a step as a share of the radius, > 0; None is 1 / steps.

    Reference: Xie et al., CVPR 2019, section 3.2; their smallest share, 299 / 331, is about 0.9.
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
        if not 0 <= self.decay < float("inf"):
            raise ConfigError(f"decay is {self.decay}; expected a finite number, at least 0.")
        if self.step is None:
            object.__setattr__(self, "step", 1 / self.steps)

    def seen(self, points: Tensor, *, source: torch.Generator) -> Tensor:
        """Return the images, made smaller or not.

        Raises:
            UndecidableError: where the inputs are no images (n, channels, height, width).
        """
        if points.ndim != _IMAGE_DIMENSIONS:
            raise UndecidableError(
                f"{self.name}: needs images (n, channels, height, width), got inputs of shape "
                f"{tuple(points.shape)}."
            )
        change, size, top, left = torch.rand(4, generator=source).tolist()
        if change >= self.probability:
            return points
        height, width = points.shape[2:]
        share = self.shrink + size * (1 - self.shrink)
        small = max(1, round(share * height)), max(1, round(share * width))
        shrunk = interpolate(points, size=small, mode="nearest")
        free = height - small[0], width - small[1]
        at = round(top * free[0]), round(left * free[1])
        return pad(shrunk, (at[1], free[1] - at[1], at[0], free[0] - at[0]))

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        return self.decay * before + scaled(gradient)


TRANSFER_ATTACKS.add(
    "di-fgsm",
    DiverseInputs,
    summary="as mi-fgsm, with gradients at randomly shrunk and shifted images",
    reference="Xie et al., CVPR 2019",
    cost="a forward and a backward pass a step",
)
