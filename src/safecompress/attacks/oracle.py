"""A model that answers and nothing more, to an attacker who asks and is counted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safecompress.protocols import Inputs, Rows, leading_size
from safecompress.train.predict import predict


class Oracle:
    """The answers of a model to any inputs, and how many inputs were asked about.

    Args:
        target: the model; asked in evaluation mode and fp32, without gradients.
        rows: rows whose questions are counted apart; 0 counts all of them together.
        budget: most questions about each of those rows; None is no limit.
    """

    def __init__(self, target: nn.Module, *, rows: int = 0, budget: int | None = None) -> None:
        self._target = target
        self.queries = 0
        self.budget = budget
        self.asked = torch.zeros(rows, dtype=torch.int64)
        """Questions about each row so far, int64 (rows,), on the CPU."""

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the predicted classes, int64 (n,)."""
        return self._answers(inputs).argmax(dim=1)

    def scores(self, inputs: Tensor, owners: Tensor) -> Tensor:
        """Return the logits, float32 (n, classes), on the device of `inputs`.

        Args:
            inputs: what is asked about.
            owners: int64 (n,), the row that each question belongs to.

        Raises:
            RuntimeError: before anything is asked, when a row's budget would be exceeded.
        """
        more = torch.bincount(owners.cpu(), minlength=len(self.asked))
        if self.budget is not None and bool((self.asked + more > self.budget).any()):
            raise RuntimeError(
                f"a row would be asked about more often than its budget of {self.budget}; ask "
                "`left` first."
            )
        self.asked += more
        return self._answers(inputs).to(inputs.device)

    def left(self, owners: Tensor) -> Tensor:
        """Return how many questions remain for each of the rows, int64, on the owners' device."""
        if self.budget is None:
            return torch.full_like(owners, torch.iinfo(torch.int64).max)
        return (self.budget - self.asked[owners.cpu()]).to(owners.device)

    def _answers(self, inputs: Inputs) -> Tensor:
        size = leading_size(inputs)
        self.queries += size
        nothing = torch.zeros(size, dtype=torch.int64)
        return predict(self._target, Rows(inputs, nothing, nothing)).logits
