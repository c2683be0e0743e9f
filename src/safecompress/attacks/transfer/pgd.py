"""`Pgd`, `Fgsm`: projected gradient ascent, and its one-step form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from safecompress.attacks.transfer.iterated import IteratedAttack
from safecompress.attacks.transfer.registry import TRANSFER_ATTACKS


@final
@dataclass(frozen=True)
class Fgsm(IteratedAttack):
    """One step of the whole radius along the gradient.

    Reference: Goodfellow et al., ICLR 2015, section 4.
    """

    name: ClassVar[str] = "fgsm"

    steps: int = 1
    step: float | None = 1.0

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        del before
        return gradient


TRANSFER_ATTACKS.add(
    "fgsm",
    Fgsm,
    summary="one step of the whole radius along the source's gradient",
    reference="Goodfellow et al., ICLR 2015",
    cost="one forward and backward pass",
)


@final
@dataclass(frozen=True)
class Pgd(IteratedAttack):
    """Steps along the gradient itself: its sign in L∞, its direction in L2.

    Reference: Madry et al., ICLR 2018, section 2.1.
    """

    name: ClassVar[str] = "pgd"

    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        del before
        return gradient


TRANSFER_ATTACKS.add(
    "pgd",
    Pgd,
    summary="steps along the source's gradient, put back into the ball",
    reference="Madry et al., ICLR 2018",
    cost="a forward and a backward pass a step",
)
