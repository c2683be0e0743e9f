"""`RelaxLoss`: training holds the loss at a target, so that members do not stand out by theirs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from safecompress.defenses.options import require_factor
from safecompress.defenses.registry import DEFENSES
from safecompress.protocols import Batch, Defense, TrainingContext


class RelaxLoss(Defense):
    """Hold a batch's mean loss at `target`: below it, epochs of ascent and flattening alternate.

    Even epochs follow the gradient upwards. Odd epochs flatten the outputs: the training target
    keeps the model's own probability of the label and spreads the rest equally over the other
    classes, so the loss stops falling while the label stays the likeliest class.

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
        """Compute the number of steps in an epoch.

        Args:
            context: its numbers of rows and of rows in a batch are read.
        """
        self._steps_per_epoch = max(1, context.rows // max(1, context.batch_size))

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return the difference between the loss of this epoch's kind and the batch's loss.

        Args:
            batch: its loss, logits, labels and step are read.

        Returns:
            A scalar that, added to the batch's loss, gives its negative in even epochs and the
            flattening loss in odd ones; None where the loss is at or above the target.
        """
        if batch.loss is None or not float(batch.loss.detach()) < self.target:
            return None
        if batch.step // self._steps_per_epoch % 2 == 0:
            return -2 * batch.loss
        logs = log_softmax(batch.logits.float(), dim=1)
        of_label = logs.detach().exp().gather(1, batch.labels.unsqueeze(1))
        of_others = (1 - of_label) / max(1, logs.shape[1] - 1)
        flat = of_others.expand_as(logs).scatter(1, batch.labels.unsqueeze(1), of_label)
        return -(flat * logs).sum(dim=1).mean() - batch.loss


DEFENSES.add(
    "relax-loss",
    RelaxLoss,
    summary="holds the members' loss at a target instead of letting it fall",
    reference="Chen, Yu & Fritz, ICLR 2022",
    cost="inherits dense weights; nothing",
)
