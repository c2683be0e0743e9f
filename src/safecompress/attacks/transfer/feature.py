"""`FeatureFgsm` (FIA): takes away inside the source what speaks for a row's class.

What models share is found in the middle of them rather than in their answers, and a defense that
turns the gradient of the answer need not turn that of a layer inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safecompress.attacks.transfer.aim import Aim
from safecompress.attacks.transfer.asked import AskedModule, Inside
from safecompress.attacks.transfer.iterated import IteratedAttack
from safecompress.attacks.transfer.momentum import require_decay, scaled
from safecompress.attacks.transfer.registry import TRANSFER_ATTACKS
from safecompress.attacks.transfer.smoothing import blurred, require_images, require_noise
from safecompress.errors import ConfigError
from safecompress.protocols import Ball, Source


@final
@dataclass(frozen=True)
class FeatureFgsm(IteratedAttack):
    """Steps that lower a layer's outputs where they speak for the label, and raise the others.

    How much each output speaks for the label is the label's gradient with respect to it, averaged
    over copies of the row of which a random part is set to zero: what depends on details of this
    model averages out.

    Args:
        depth: which linear or convolution layer, in [0, 1]: 0 for the first, 1 for the last but
            one. A source without such layers is attacked at its answer, as MI-FGSM does.
        copies: number of incomplete copies of a row, at least 1.
        dropped: share of a copy's numbers that are zero, in [0, 1).
        blur: standard deviation in pixels of the blur of gradients, at least 0; 0 blurs nothing.
        decay: factor of the previous direction, at least 0, as in MI-FGSM.
        step: size of a step as a fraction of the radius, > 0; None is 2.5 / steps.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Wang et al., Feature Importance-Aware Transferable Adversarial Attacks, ICCV 2021,
    whose defaults are 30 copies of which .3 is dropped. Which numbers are dropped is the same for
    all rows here, so that a row's point does not depend on the others.
    """

    name: ClassVar[str] = "feature-fgsm"

    depth: float = 0.5
    copies: int = 10
    dropped: float = 0.3
    blur: float = 0.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_noise(self.blur, option="blur")
        require_decay(self.decay)
        if self.copies < 1:
            raise ConfigError(f"copies is {self.copies}; expected at least 1.")
        if not 0 <= self.depth <= 1:
            raise ConfigError(f"depth is {self.depth}; expected a place in [0, 1].")
        if not 0 <= self.dropped < 1:
            raise ConfigError(f"dropped is {self.dropped}; expected a share in [0, 1).")

    def followed(
        self, source: Source, x: Tensor, aim: Aim, *, ball: Ball, draw: torch.Generator
    ) -> Callable[[Tensor, Tensor], Tensor]:
        if self.blur:
            require_images(x, where=self.name)
        inside = source.inside(x, depth=self.depth) if isinstance(source, AskedModule) else None
        if inside is None:
            return super().followed(source, x, aim, ball=ball, draw=draw)
        weights = self._weights(inside, x, aim, ball, draw)

        def gradient(points: Tensor, rows: Tensor) -> Tensor:
            leaf = points.detach().requires_grad_()
            (found,) = torch.autograd.grad((inside(leaf)[0] * weights[rows]).sum(), leaf)
            return blurred(found.nan_to_num(), self.blur)

        return gradient

    def _weights(
        self, inside: Inside, x: Tensor, aim: Aim, ball: Ball, draw: torch.Generator
    ) -> Tensor:
        """Return how much a rise of each output of the layer brings a row to its aim, (n, …)."""
        wanted = aim.labels if aim.targets is None else aim.targets
        sign = -1.0 if aim.targets is None else 1.0
        speaks: list[Tensor] = []
        for _ in range(self.copies):
            gone = (torch.rand(x.shape[1:], generator=draw) < self.dropped).to(x.device)
            if ball.moving is not None:
                gone = gone & ball.moving(x)
            said, logits = inside(x.masked_fill(gone, 0.0).requires_grad_())
            logit = logits.gather(1, wanted[:, None]).sum()
            speaks += torch.autograd.grad(logit, said, allow_unused=True, materialize_grads=True)
        total = torch.stack(speaks).sum(dim=0)
        size = total.flatten(1).norm(dim=1).clamp_min(1e-30)
        weights: Tensor = sign * total / size.reshape(-1, *[1] * (total.ndim - 1))
        return weights

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        return self.decay * before + scaled(gradient)


TRANSFER_ATTACKS.add(
    "feature-fgsm",
    FeatureFgsm,
    summary="takes away inside the source what speaks for a row's class",
    reference="Wang et al., ICCV 2021",
    cost="a forward and a backward pass a step, and one for each of `copies`",
)
