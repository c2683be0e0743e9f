"""`PairBalance`: pair-based posterior balancing, which makes members' sorted outputs alike."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from safecompress.defenses.options import require_factor
from safecompress.defenses.registry import DEFENSES
from safecompress.protocols import Batch, Defense


class PairBalance(Defense):
    """Add weight × the divergence between the sorted outputs of the batch's two halves.

    The defense makes the sorted outputs of all members alike, so that an attacker learns less about
    a single row from how its probabilities are distributed.

    Args:
        weight: factor of the divergence, at least 0.

    Raises:
        ConfigError: when the weight is out of range.

    Reference: the pair-based posterior balancing of Yuan & Zhang, "Membership Inference Attacks
    and Defenses in Neural Network Pruning", USENIX Security 2022, section 6, where the weight is
    θ = 4.
    """

    name: ClassVar[str] = "ppb"
    only_penalty: ClassVar[bool] = True

    def __init__(self, *, weight: float = 4.0) -> None:
        require_factor("weight", weight)
        self.weight = weight

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return weight × KL(first half ‖ second half), averaged over pairs.

        Args:
            batch: its logits are read; the last row of an odd number of rows is left out.

        Returns:
            A scalar; None where the weight is 0 or the batch has one row.
        """
        half = len(batch.labels) // 2
        if not self.weight or not half:
            return None
        ranked = log_softmax(batch.logits.float(), dim=1).sort(dim=1, descending=True).values
        first, second = ranked[:half], ranked[half : 2 * half]
        return self.weight * kl_div(second, first, reduction="batchmean", log_target=True)


DEFENSES.add(
    "ppb",
    PairBalance,
    summary="the sorted outputs of a batch's two halves must be alike",
    reference="Yuan & Zhang, USENIX Security 2022",
    cost="inherits dense weights; nothing",
)
