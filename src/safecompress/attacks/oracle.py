"""`Oracle`: query access to a model, with a count and a budget of queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safecompress.protocols import Inputs, Rows, leading_size
from safecompress.train.predict import predict


class Oracle:
    """A model that can only be queried, and the number of queries so far.

    Args:
        target: the model; evaluated in evaluation mode and fp32, without gradients.
        rows: number of rows whose queries are counted separately; 0 counts only their total.
        budget: maximum number of queries per row; None is no limit.
    """

    def __init__(self, target: nn.Module, *, rows: int = 0, budget: int | None = None) -> None:
        self._target = target
        self.queries = 0
        self.budget = budget
        self.asked = torch.zeros(rows, dtype=torch.int64)
        """Number of queries for each row so far, int64 (rows,), on the CPU."""

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the predicted classes, int64 (n,), on the CPU.

        Args:
            inputs: n rows of inputs.
        """
        return self._answers(inputs).argmax(dim=1)

    def scores(self, inputs: Tensor, owners: Tensor) -> Tensor:
        """Return the logits, float32 (n, classes), on the device of `inputs`.

        Args:
            inputs: the inputs to query, n rows.
            owners: int64 (n,), the row, in [0, rows), whose budget each query is charged to.

        Raises:
            RuntimeError: when a row's budget would be exceeded; then no query is made.
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
        """Return the number of queries that each row has left, int64 (k,), on the owners' device.

        Args:
            owners: int64 (k,), rows in [0, rows).
        """
        if self.budget is None:
            return torch.full_like(owners, torch.iinfo(torch.int64).max)
        return (self.budget - self.asked[owners.cpu()]).to(owners.device)

    def _answers(self, inputs: Inputs) -> Tensor:
        size = leading_size(inputs)
        self.queries += size
        nothing = torch.zeros(size, dtype=torch.int64)
        return predict(self._target, Rows(inputs, nothing, nothing)).logits
