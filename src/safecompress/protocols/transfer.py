"""An attacker who crafts inputs on a model he holds, to fool one he does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from torch import Tensor

from safecompress.protocols.ball import Ball

Source: TypeAlias = Callable[[Tensor], Tensor]
"""Points (n, …) in, logits (n, classes) out; differentiable."""


class TransferAttack(ABC):
    """Crafts points near given rows that the source classifies otherwise.

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

        What a row gets must not depend on the other rows. Gradients are on when this is called.

        Args:
            source: the model the attacker holds, in evaluation mode; its parameters' gradients
                are left alone.
            x: rows, float (n, …), inside the ball's range.
            labels: int64 (n,), the class each row must leave.
            ball: what may be sent in a row's place.
            seed: of everything random.
            targets: int64 (n,), the class each row must be taken for; None is satisfied with any
                class but the label.
        """
