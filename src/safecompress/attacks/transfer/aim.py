"""What an attacker wants of a point, as a number to raise and as a yes or no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.errors import ConfigError, NonFiniteError
from safecompress.protocols import Source

Loss: TypeAlias = Literal["cross-entropy", "margin"]
LOSSES: tuple[Loss, ...] = ("cross-entropy", "margin")


@dataclass(frozen=True)
class Aim:
    """Away from the labels, or to the targets.

    Args:
        labels: int64 (n,), the class each row must leave.
        targets: int64 (n,), the class each must be taken for, or None where any other will do.
        loss: `cross-entropy`, or `margin`: the difference of the two logits that matter, whose
            gradient does not fade where the model is sure.

    Raises:
        ConfigError: on another loss.

    Reference: the margin is that of Carlini & Wagner, S&P 2017, section V.
    """

    labels: Tensor
    targets: Tensor | None = None
    loss: Loss = "cross-entropy"

    def __post_init__(self) -> None:
        require_loss(self.loss)

    def value(self, logits: Tensor) -> Tensor:
        """Return (n,): higher is nearer to the aim."""
        wanted = self.labels if self.targets is None else self.targets
        if self.loss == "cross-entropy":
            risen = cross_entropy(logits, wanted, reduction="none")
        else:
            own = logits.gather(1, wanted[:, None]).squeeze(1)
            others = logits.scatter(1, wanted[:, None], -torch.inf).amax(dim=1)
            risen = others - own
        return risen if self.targets is None else -risen

    def reached(self, logits: Tensor) -> Tensor:
        """Return whether each point does what is wanted, bool (n,)."""
        said = logits.argmax(dim=1)
        return said != self.labels if self.targets is None else said == self.targets

    def take(self, index: Tensor) -> Aim:
        """Return the aim of the rows at `index`."""
        targets = None if self.targets is None else self.targets[index]
        return Aim(self.labels[index], targets, self.loss)


def require_loss(loss: str) -> None:
    """Refuse an unknown loss.

    Raises:
        ConfigError: naming those there are.
    """
    if loss not in LOSSES:
        raise ConfigError(f"loss is '{loss}'; expected one of {', '.join(LOSSES)}.")


def input_gradient(source: Source, points: Tensor, aim: Aim) -> Tensor:
    """Return the gradient of the aim's value towards each point, (n, …).

    No parameter's gradient is touched.

    Raises:
        NonFiniteError: when a gradient is NaN or infinite, along which nobody can climb.
    """
    with torch.enable_grad():
        asked = points.detach().requires_grad_()
        # Rows do not meet: the gradient of the sum holds every row's own.
        (gradient,) = torch.autograd.grad(aim.value(source(asked)).sum(), asked)
    if not bool(torch.isfinite(gradient).all()):
        bad = int((~torch.isfinite(gradient)).flatten(1).any(dim=1).sum())
        raise NonFiniteError(
            f"input gradients: those of {bad} of {len(gradient)} rows are NaN or infinite; the "
            "model's weights or inputs are broken."
        )
    return gradient.detach()
