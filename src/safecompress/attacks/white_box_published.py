"""`PublishedWhiteBoxAttack`: the published framework's white-box attack, for comparison.

It is rebuilt from the description in Zhu et al., ASE 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, softmax

from safecompress.attacks.descent import Columns, DescendingAttack
from safecompress.attacks.neural_published import stack
from safecompress.attacks.registry import ATTACKS
from safecompress.attacks.white_box import internals_of
from safecompress.protocols import Evidence

_CHANNELS, _POOLED, _DROPOUT = 4, 8, 0.2


class PublishedWhiteBoxNetwork(nn.Module):
    """Four branches of 64 outputs each and a joint part 256-256-128-64-1, with dropout 0.2.

    The branches read the softmax (C-128-64), the loss (1-128-64), the one-hot label (C-128-64), and
    the gradient of the row's loss with respect to the last layer's weights: a 5×5 convolution,
    batch normalization, pooling, and 256-128-64. The description gives the branches' ends, the
    gradient's layers and the joint part. The width of 128, the four channels, the stride of 2 and
    the 8×8 pooling are choices made here.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.prediction = stack(classes, 128, 64, dropout=_DROPOUT)
        self.loss = stack(1, 128, 64, dropout=_DROPOUT)
        self.label = stack(classes, 128, 64, dropout=_DROPOUT)
        self.gradient = nn.Sequential(
            nn.Conv2d(1, _CHANNELS, 5, stride=2, padding=2),
            nn.BatchNorm2d(_CHANNELS),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(_POOLED),
            nn.Flatten(),
            stack(_CHANNELS * _POOLED**2, 256, 128, 64, dropout=_DROPOUT),
        )
        self.fused = nn.Sequential(stack(256, 256, 128, 64, dropout=_DROPOUT), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Return the logit of "member", (n,).

        The last layer's gradients are formed here, for one batch at a time, to save memory.

        Args:
            logits: the target's, float32 (n, classes).
            labels: int64 (n,).
            features: input of the target's last weight layer, float32 (n, d).
        """
        p, y = softmax(logits, dim=1), one_hot(labels, self.classes).to(logits.dtype)
        branches = (
            self.prediction(p),
            self.loss(cross_entropy(logits, labels, reduction="none")[:, None]),
            self.label(y),
            self.gradient(last_layer_gradients(p - y, features)),
        )
        fused: Tensor = self.fused(torch.cat(branches, dim=1))
        return fused.squeeze(1)


def last_layer_gradients(residuals: Tensor, features: Tensor) -> Tensor:
    """Return (p − y) ⊗ h of each row as an image of one channel, (n, 1, classes, d).

    Args:
        residuals: p − y, float (n, classes).
        features: h, the input of the last weight layer, float (n, d).
    """
    return residuals[:, None, :, None] * features[:, None, None, :]


@dataclass(frozen=True)
class PublishedWhiteBoxAttack(DescendingAttack):
    """A four-branch network on the softmax, the loss, the label and the last layer's gradient.

    It is trained as the published black-box attack is, in fewer epochs, after which it has
    converged. The model computes no gradients: the last layer's is the outer product of residual
    and features.

    Args:
        epochs: number of passes over the larger group; the smaller one is repeated.
        batch_size: number of rows in a step, half of them members; even.
        learning_rate: step size of Adam, in (0, 1).
        validation: fraction of the fit half held out to choose the epoch, in [0, 1); 0 keeps the
            last epoch.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Zhu et al., Safety and Performance, Why not Both?, ASE 2022 (arXiv 2208.05969), after
    Nasr, Shokri & Houmansadr, S&P 2019.
    """

    name: ClassVar[str] = "white-box-published"
    signals: ClassVar[str] = "inside"
    requires: ClassVar[frozenset[str]] = frozenset({"internals"})

    epochs: int = 30

    def network(self, classes: int) -> nn.Module:
        """Return the untrained network.

        Args:
            classes: number of classes.
        """
        return PublishedWhiteBoxNetwork(classes)

    def columns(self, evidence: Evidence) -> Columns:
        """Return logits, float32 (n, classes), labels, int64 (n,), and features, float32 (n, d).

        Args:
            evidence: the target's outputs and internals on n rows.
        """
        outputs = evidence.outputs
        return outputs.logits.float(), outputs.labels, internals_of(evidence).features


ATTACKS.add(
    "white-box-published",
    PublishedWhiteBoxAttack,
    summary="the published framework's four branches: softmax, loss, label, last layer's gradient",
    reference="Zhu et al., ASE 2022 (arXiv 2208.05969), after Nasr et al., S&P 2019",
    cost="about 30 s for 1,000 + 1,000 fit rows × 30 classes × 256 features on one core; linear in "
    "each",
)
