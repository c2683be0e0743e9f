"""`TransferAttack`: crafts inputs on a model the attacker holds to fool another model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from torch import Tensor

from safecompress.protocols.ball import Ball

Source: TypeAlias = Callable[[Tensor], Tensor]
"""A differentiable function of points (n, …) that returns logits (n, classes)."""


class TransferAttack(ABC):
    """Crafts points near given rows that the source model classifies differently from their labels.

    Hyper-parameters belong to the constructor, the problem (rows, labels, ball) to the call.
    """

    name: ClassVar[str]

    @abstractmethod
    def perturb(
        self,
        source: Source,
        x: Tensor,
        labels: Tensor,
        *,
        ball: Ball,
        seed: int,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Return a point for each row, (n, …), each inside its ball.

        A row's point must not depend on the other rows. Autograd is on when this is called.

        Args:
            source: the model the attacker holds, in evaluation mode; its parameters' `.grad` must
                not change.
            x: rows, float (n, …), inside the ball's range.
            labels: int64 (n,), the true classes, which points must not be classified as.
            ball: the points that may be sent instead of a row.
            seed: seed of everything random.
            targets: int64 (n,), the class that each point must be classified as; with None any
                class other than the label will do.
        """
