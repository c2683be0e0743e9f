"""`SmoothedFgsm` (TI-FGSM and SmoothGrad): steps along gradients that are blurred or averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safecompress.attacks.transfer.aim import Aim, input_gradient
from safecompress.attacks.transfer.diverse import shrunk_and_shifted
from safecompress.attacks.transfer.iterated import IteratedAttack
from safecompress.attacks.transfer.momentum import require_decay, scaled
from safecompress.attacks.transfer.registry import TRANSFER_ATTACKS
from safecompress.attacks.transfer.smoothing import blurred, noisy, require_images, require_noise
from safecompress.errors import ConfigError
from safecompress.protocols import Ball, Source


@final
@dataclass(frozen=True)
class SmoothedFgsm(IteratedAttack):
    """MI-FGSM along gradients that are blurred, taken at noisy points, or at diverse images.

    Args:
        blur: standard deviation in pixels of the blur of gradients, at least 0; 0 blurs nothing and
            does for inputs other than images.
        noise: standard deviation of the noise at whose points gradients are taken, at least 0, as a
            fraction of the input range (of the root mean square of a row's embeddings for text).
        samples: number of noisy points over which a step's gradient is averaged, at least 1.
        shrink: smallest side of a shrunk image as a fraction of the image's side, in (0, 1]; 1
            shrinks nothing.
        decay: factor of the previous direction, at least 0, as in MI-FGSM.
        step: size of a step as a fraction of the radius, > 0; None is 2.5 / steps, because steps
            that turn do not reach the edge of an L2 ball by 1 / steps.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Dong et al., CVPR 2019 (arXiv 1904.02884), equation 7, for the blur; Wu et al., 2018
    (arXiv 1802.09707), for the mean over noise. The noise here is the same for all rows, so that a
    row's point does not depend on the others.
    """

    name: ClassVar[str] = "ti-fgsm"

    blur: float = 1.0
    noise: float = 0.0
    samples: int = 1
    shrink: float = 1.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_noise(self.blur, option="blur")
        require_noise(self.noise, option="noise")
        require_decay(self.decay)
        if self.samples < 1:
            raise ConfigError(f"samples is {self.samples}; expected at least 1.")
        if not 0 < self.shrink <= 1:
            raise ConfigError(f"shrink is {self.shrink}; expected a share in (0, 1].")

    def gradient(
        self, source: Source, points: Tensor, aim: Aim, *, ball: Ball, draw: torch.Generator
    ) -> Tensor:
        if self.blur or self.shrink < 1:
            require_images(points, where=self.name)

        def answered(given: Tensor) -> Tensor:
            if self.shrink < 1:
                given = shrunk_and_shifted(given, shrink=self.shrink, draw=draw)
            if self.noise:
                around = torch.randn(given.shape[1:], generator=draw)
                given = noisy(given, around, self.noise, ball=ball)
            return source(given)

        total = torch.zeros_like(points)
        for _ in range(self.samples):
            total = total + input_gradient(answered, points, aim)
        return blurred(total, self.blur)

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        return self.decay * before + scaled(gradient)


TRANSFER_ATTACKS.add(
    "ti-fgsm",
    SmoothedFgsm,
    summary="as mi-fgsm, along gradients that are blurred or averaged over noise",
    reference="Dong et al., CVPR 2019; Wu et al., 2018",
    cost="`samples` forward and backward passes a step",
)
