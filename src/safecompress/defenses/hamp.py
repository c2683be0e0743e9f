"""`Hamp`: training towards soft labels of high entropy, with a bonus for uncertain outputs."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from safecompress.defenses.entropy import entropy_of
from safecompress.defenses.options import require_factor, require_share
from safecompress.defenses.registry import DEFENSES
from safecompress.protocols import Batch, Defense, TrainingContext


def label_probability(entropy: float, classes: int) -> float:
    """Return the probability of the true class in a soft label of a given entropy.

    The other classes have equal probabilities.

    Args:
        entropy: entropy of the soft label as a share of the largest, log(classes), in [0, 1].
        classes: number of classes, at least 1.

    Returns:
        A probability in [1 / classes, 1].

    >>> round(label_probability(0.0, 10), 6), round(label_probability(1.0, 10), 6)
    (1.0, 0.1)
    """
    if classes < 2:
        return 1.0

    def entropy_at(p: float) -> float:
        rest = 1 - p
        true_class = p * math.log(p) if p > 0 else 0.0
        return -true_class - (rest * math.log(rest / (classes - 1)) if rest > 0 else 0.0)

    low, high = 1 / classes, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        too_uncertain = entropy_at(middle) > entropy * math.log(classes)
        low, high = (middle, high) if too_uncertain else (low, middle)
    return high


class Hamp(Defense):
    """Train towards soft labels of high entropy, with a bonus for the entropy of the outputs.

    As published, the defense also replaces the finished model's outputs by those for random inputs
    in the same order of classes. That is a wrapper around a model and no part of its weights, so it
    is left out here: the model is trained, and judged by its outputs as they are.

    Args:
        entropy: entropy of the soft labels as a share of the largest, in [0, 1); 0 keeps hard
            labels.
        weight: factor of the outputs' entropy, at least 0.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Chen & Pattabiraman, "Overconfidence is a Dangerous Thing", NDSS 2024, section IV.
    """

    name: ClassVar[str] = "hamp"
    only_penalty: ClassVar[bool] = True

    def __init__(self, *, entropy: float = 0.5, weight: float = 0.01) -> None:
        require_share("entropy", entropy, one=False)
        require_factor("weight", weight)
        self.entropy, self.weight = entropy, weight
        self._label_probability = 1.0

    def prepare_(self, context: TrainingContext) -> None:
        """Compute the probabilities of a soft label.

        Args:
            context: its number of classes is read.
        """
        self._label_probability = label_probability(self.entropy, context.classes)

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return cross-entropy to the soft label − cross-entropy to the target − weight × entropy.

        Args:
            batch: its logits, labels and loss are read.

        Returns:
            A scalar; None where both options are 0.
        """
        added: Tensor | None = None
        if self.entropy and batch.loss is not None:
            logs = log_softmax(batch.logits.float(), dim=1)
            of_label = logs.gather(1, batch.labels.unsqueeze(1)).mean()
            classes = logs.shape[1]
            of_others = (logs.sum(dim=1).mean() - of_label) / max(1, classes - 1)
            share = self._label_probability
            added = -share * of_label - (1 - share) * of_others - batch.loss
        if self.weight:
            bonus = -self.weight * entropy_of(batch.logits).mean()
            added = bonus if added is None else added + bonus
        return added


DEFENSES.add(
    "hamp",
    Hamp,
    summary="soft labels of high entropy and an entropy bonus; outputs are left as they are",
    reference="Chen & Pattabiraman, NDSS 2024",
    cost="inherits dense weights; nothing",
)
