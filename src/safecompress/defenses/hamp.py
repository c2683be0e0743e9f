"""HAMP: labels with high entropy, and outputs that stay uncertain."""

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
    """Return the label's share of a soft label whose entropy is that share of the largest.

    The other classes share the rest equally.

    Args:
        entropy: share of log(classes), in [0, 1].
        classes: at least 1.

    >>> round(label_probability(0.0, 10), 6), round(label_probability(1.0, 10), 6)
    (1.0, 0.1)
    """
    if classes < 2:
        return 1.0

    def said(p: float) -> float:
        rest = 1 - p
        own = p * math.log(p) if p > 0 else 0.0
        return -own - (rest * math.log(rest / (classes - 1)) if rest > 0 else 0.0)

    low, high = 1 / classes, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if said(middle) > entropy * math.log(classes) else (low, middle)
    return high


class Hamp(Defense):
    """Train towards soft labels of high entropy, with a bonus for the outputs' own entropy.

    The defense as published also replaces the outputs of the finished model, keeping their order,
    with those of random inputs. That is a wrapper around a model, no part of it; here the model
    itself is made, and judged with its outputs as they are.

    Args:
        entropy: of the soft labels, as a share of the largest, in [0, 1); 0 keeps hard labels.
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
        self._own = 1.0

    def prepare_(self, context: TrainingContext) -> None:
        """Work the soft labels out for the number of classes."""
        self._own = label_probability(self.entropy, context.classes)

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return cross-entropy to the soft label − to the target − weight × entropy."""
        added: Tensor | None = None
        if self.entropy and batch.loss is not None:
            logs = log_softmax(batch.logits.float(), dim=1)
            own = logs.gather(1, batch.labels.unsqueeze(1)).mean()
            classes = logs.shape[1]
            others = (logs.sum(dim=1).mean() - own) / max(1, classes - 1)
            added = -self._own * own - (1 - self._own) * others - batch.loss
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
