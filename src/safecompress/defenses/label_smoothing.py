"""`LabelSmoothing`: part of the training target is spread over all classes."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from safecompress.defenses.options import require_share
from safecompress.defenses.registry import DEFENSES
from safecompress.protocols import Batch, Defense


class LabelSmoothing(Defense):
    """Train towards (1 − share) of the target and `share` of the uniform distribution.

    Args:
        share: share of the target that is spread over all classes equally, in [0, 1].

    Raises:
        ConfigError: when the share is out of range.

    Reference: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7. Label
    smoothing hides confidence; label-only and shadow attacks show whether it also hides members.
    """

    name: ClassVar[str] = "label-smoothing"
    only_penalty: ClassVar[bool] = True

    def __init__(self, *, share: float = 0.1) -> None:
        require_share("share", share)
        self.share = share

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return share × (cross-entropy to uniform − cross-entropy to the target).

        Args:
            batch: its logits and loss are read.

        Returns:
            A scalar; None where the share is 0.
        """
        if not self.share or batch.loss is None:
            return None
        uniform = -log_softmax(batch.logits.float(), dim=1).mean()
        return self.share * (uniform - batch.loss)


DEFENSES.add(
    "label-smoothing",
    LabelSmoothing,
    summary="part of the target is spread over all classes",
    reference="Szegedy et al., CVPR 2016",
    cost="inherits dense weights; nothing",
)
