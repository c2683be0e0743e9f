"""`PublishedNeuralAttack`: the published framework's neural attack, for comparison.

It is rebuilt from the description in Zhu et al., ASE 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from safecompress.attacks.descent import Columns, DescendingAttack
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Evidence


class PublishedNetwork(nn.Module):
    """Softmax branch C-1024-512-64, label branch C-512-64, joint part 128-256-64-1.

    Args:
        classes: number of classes C.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.prediction = stack(classes, 1024, 512, 64)
        self.label = stack(classes, 512, 64)
        self.fused = nn.Sequential(stack(128, 256, 64), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the logit of "member", (n,).

        Args:
            logits: the target's, float32 (n, classes).
            labels: int64 (n,).
        """
        branches = (
            self.prediction(torch.softmax(logits, dim=1)),
            self.label(one_hot(labels, self.classes).to(logits.dtype)),
        )
        fused: Tensor = self.fused(torch.cat(branches, dim=1))
        return fused.squeeze(1)


def stack(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Return linear layers, each followed by a ReLU and optionally by dropout.

    Args:
        widths: number of inputs of the first layer, then the number of outputs of each layer.
        dropout: probability of dropping a unit, in [0, 1); 0 adds no dropout layers.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class PublishedNeuralAttack(DescendingAttack):
    """A two-branch network on the softmax and the one-hot label.

    The published code keeps the epoch that is best on the very rows it is evaluated on. Here the
    epoch is chosen on held-out rows of the fit half, so that the judged half stays unseen.

    Args:
        epochs: number of passes over the larger group; the smaller one is repeated.
        batch_size: number of rows in a step, half of them members; even.
        learning_rate: step size of Adam, in (0, 1).
        validation: fraction of the fit half held out to choose the epoch, in [0, 1); 0 keeps the
            last epoch.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Zhu et al., Safety and Performance, Why not Both?, ASE 2022 (arXiv 2208.05969).
    """

    name: ClassVar[str] = "neural-published"
    signals: ClassVar[str] = "vector"

    def network(self, classes: int) -> nn.Module:
        """Return the untrained network.

        Args:
            classes: number of classes.
        """
        return PublishedNetwork(classes)

    def columns(self, evidence: Evidence) -> Columns:
        """Return the target's logits, float32 (n, classes), and the labels, int64 (n,).

        Args:
            evidence: the target's outputs on n rows.
        """
        outputs = evidence.outputs
        return outputs.logits.float(), outputs.labels


ATTACKS.add(
    "neural-published",
    PublishedNeuralAttack,
    summary="the published framework's two-branch network on softmax and one-hot label",
    reference="Zhu et al., ASE 2022 (arXiv 2208.05969)",
    cost="about 15 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)
