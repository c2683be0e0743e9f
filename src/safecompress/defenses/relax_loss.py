"""RelaxLoss: members keep a loss that others have, too."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from safecompress.defenses.options import require_factor
from safecompress.defenses.registry import DEFENSES
from safecompress.protocols import Batch, Defense, TrainingContext


class RelaxLoss(Defense):
    """Hold the batch's loss at `target`: below it, ascend and flatten in turns, an epoch each.

    In even epochs the gradient is climbed; in odd ones the model trains towards its own
    probability of the label and an equal share of the rest for every other class, so the loss
    stops falling while the likeliest class stays right.

    Args:
        target: mean loss to hold, in nats, at least 0; 0 changes nothing.

    Raises:
        ConfigError: when the target is out of range.

    Reference: Chen, Yu & Fritz, "RelaxLoss: Defending Membership Inference Attacks without Losing
    Utility", ICLR 2022, algorithm 1.
    """

    name: ClassVar[str] = "relax-loss"
    only_penalty: ClassVar[bool] = True

    def __init__(self, *, target: float = 0.5) -> None:
        require_factor("target", target)
        self.target = target
        self._steps_per_epoch = 1

    def prepare_(self, context: TrainingContext) -> None:
        """Learn how long an epoch is."""
        self._steps_per_epoch = max(1, context.rows // max(1, context.batch_size))

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return what turns the loss into its ascent or its flattening; None above the target."""
        if batch.loss is None or not float(batch.loss.detach()) < self.target:
            return None
        if batch.step // self._steps_per_epoch % 2 == 0:
            return -2 * batch.loss
        logs = log_softmax(batch.logits.float(), dim=1)
        own = logs.detach().exp().gather(1, batch.labels.unsqueeze(1))
        others = (1 - own) / max(1, logs.shape[1] - 1)
        flat = others.expand_as(logs).scatter(1, batch.labels.unsqueeze(1), own)
        return -(flat * logs).sum(dim=1).mean() - batch.loss


DEFENSES.add(
    "relax-loss",
    RelaxLoss,
    summary="holds the members' loss at a target instead of letting it fall",
    reference="Chen, Yu & Fritz, ICLR 2022",
    cost="inherits dense weights; nothing",
)
