"""`EntropyBonus` and `entropy_of`: a penalty on confident outputs."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from safecompress.defenses.options import require_factor
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.protocols import Batch, Defense

Which = Literal["all", "misclassified"]


def entropy_of(logits: Tensor) -> Tensor:
    """Return the entropy of each row's probabilities in nats, float32 (n,).

    Args:
        logits: (n, classes), of any floating-point type.
    """
    logs = log_softmax(logits.float(), dim=1)
    return -(logs.exp() * logs).sum(dim=1)


class EntropyBonus(Defense):
    """Subtract weight × the mean entropy of the batch's outputs from the loss.

    Args:
        weight: factor of the entropy, at least 0.
        rows: `all`, or `misclassified`: only rows whose likeliest class is wrong.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output
    Distributions", 2017, equation 2.
    """

    name: ClassVar[str] = "entropy"
    only_penalty: ClassVar[bool] = True

    def __init__(self, *, weight: float = 0.1, rows: Which = "all") -> None:
        require_factor("weight", weight)
        if rows not in {"all", "misclassified"}:
            raise ConfigError(f"rows is '{rows}'; expected all or misclassified.")
        self.weight, self.rows = weight, rows

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return −weight × entropy, averaged over the batch; rows left out count as 0.

        Args:
            batch: its logits are read, and its labels with `misclassified`.

        Returns:
            A scalar; None where the weight is 0.
        """
        if not self.weight:
            return None
        entropy = entropy_of(batch.logits)
        if self.rows == "misclassified":
            right = batch.logits.argmax(dim=1) == batch.labels
            entropy = torch.where(right, torch.zeros_like(entropy), entropy)
        return -self.weight * entropy.mean()


DEFENSES.add(
    "entropy",
    EntropyBonus,
    summary="confident answers cost, on all rows or on those it gets wrong",
    reference="Pereyra et al., 2017",
    cost="inherits dense weights; nothing",
)
