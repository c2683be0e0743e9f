"""`MomentumFgsm` (MI-FGSM): steps along an average of all gradients, which transfer better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safecompress.attacks.transfer.iterated import IteratedAttack
from safecompress.attacks.transfer.registry import TRANSFER_ATTACKS
from safecompress.errors import ConfigError


@final
@dataclass(frozen=True)
class MomentumFgsm(IteratedAttack):
    """Direction = decay × direction before + gradient / its mean absolute value.

    Args:
        decay: factor of the previous direction, at least 0; 1 weighs all gradients alike.
        step: size of a step as a fraction of the radius, > 0; None is 1 / steps.

    Reference: Dong et al., CVPR 2018, algorithm 1. The mean of absolute values in place of their
    sum only scales all directions by the same factor.
    """

    name: ClassVar[str] = "mi-fgsm"

    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_decay(self.decay)
        if self.step is None:
            object.__setattr__(self, "step", 1 / self.steps)

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        return self.decay * before + scaled(gradient)


TRANSFER_ATTACKS.add(
    "mi-fgsm",
    MomentumFgsm,
    summary="steps along an average of all gradients so far",
    reference="Dong et al., CVPR 2018",
    cost="a forward and a backward pass a step",
)


def require_decay(decay: float) -> None:
    """Raise an error for a factor of the previous direction that is negative or infinite.

    Args:
        decay: the factor.

    Raises:
        ConfigError: with the number.
    """
    if not 0 <= decay < float("inf"):
        raise ConfigError(f"decay is {decay}; expected a finite number, at least 0.")


def scaled(gradient: Tensor) -> Tensor:
    """Return each row's gradient over its mean absolute value, (n, …); a zero gradient stays zero.

    Args:
        gradient: float (n, …).
    """
    mean = gradient.abs().flatten(1).mean(dim=1).reshape(-1, *[1] * (gradient.ndim - 1))
    return gradient / torch.where(mean > 0, mean, torch.ones_like(mean))
