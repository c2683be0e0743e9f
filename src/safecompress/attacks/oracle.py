"""A model that says a class and nothing more, to an attacker who asks and is counted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safecompress.protocols import Inputs, Rows, leading_size
from safecompress.train.predict import predict


class Oracle:
    """The predicted class of any input, and how many inputs were asked about.

    Args:
        target: the model.
    """

    def __init__(self, target: nn.Module) -> None:
        self._target = target
        self.queries = 0

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the predicted classes, int64 (n,)."""
        size = leading_size(inputs)
        self.queries += size
        nothing = torch.zeros(size, dtype=torch.int64)
        return predict(self._target, Rows(inputs, nothing, nothing)).logits.argmax(dim=1)
