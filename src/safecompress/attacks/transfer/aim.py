"""`Aim`: the goal of an attack on each row, as a value to maximize and as a test of success."""

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
    """The goal of an attack: points classified as something else than the label, or as a target.

    Args:
        labels: int64 (n,), the true classes, which points must not be classified as.
        targets: int64 (n,), the class that each point must be classified as; None accepts any class
            other than the label.
        loss: `cross-entropy`, or `margin`: the difference of the logit of the wanted (or unwanted)
            class and the largest other logit, whose gradient does not vanish where the model is
            confident.

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
        """Return the value to maximize for each row, (n,): higher is closer to success.

        Args:
            logits: float (n, classes), at the rows' points.
        """
        classes = self.labels if self.targets is None else self.targets
        if self.loss == "cross-entropy":
            loss = cross_entropy(logits, classes, reduction="none")
        else:
            logit = logits.gather(1, classes[:, None]).squeeze(1)
            others = logits.scatter(1, classes[:, None], -torch.inf).amax(dim=1)
            loss = others - logit
        return loss if self.targets is None else -loss

    def reached(self, logits: Tensor) -> Tensor:
        """Return whether each point succeeds, bool (n,).

        Args:
            logits: float (n, classes), at the rows' points.
        """
        predicted = logits.argmax(dim=1)
        return predicted != self.labels if self.targets is None else predicted == self.targets

    def take(self, index: Tensor) -> Aim:
        """Return the aim of some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        targets = None if self.targets is None else self.targets[index]
        return Aim(self.labels[index], targets, self.loss)


def require_loss(loss: str) -> None:
    """Raise an error for an unknown loss.

    Args:
        loss: name of the loss.

    Raises:
        ConfigError: naming the known losses.
    """
    if loss not in LOSSES:
        raise ConfigError(f"loss is '{loss}'; expected one of {', '.join(LOSSES)}.")


def input_gradient(source: Source, points: Tensor, aim: Aim) -> Tensor:
    """Return the gradient of each row's value with respect to its point, (n, …).

    The `.grad` of the source's parameters is left alone.

    Args:
        source: the model to differentiate, in evaluation mode.
        points: float (n, …).
        aim: the value of the n rows.

    Raises:
        NonFiniteError: when a gradient is NaN or infinite.
    """
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        # Rows are independent in evaluation mode, so the gradient of the sum is each row's own.
        (gradient,) = torch.autograd.grad(aim.value(source(leaf)).sum(), leaf)
    if not bool(torch.isfinite(gradient).all()):
        bad = int((~torch.isfinite(gradient)).flatten(1).any(dim=1).sum())
        raise NonFiniteError(
            f"input gradients: those of {bad} of {len(gradient)} rows are NaN or infinite; the "
            "model's weights or inputs are broken."
        )
    return gradient.detach()
