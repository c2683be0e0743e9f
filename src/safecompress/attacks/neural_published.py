"""The neural attack of the published framework, rebuilt from its description as a yardstick."""

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
    """Softmax branch C-1024-512-64, label branch C-512-64, fused 128-256-64-1."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.prediction = stack(classes, 1024, 512, 64)
        self.label = stack(classes, 512, 64)
        self.fused = nn.Sequential(stack(128, 256, 64), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the logit of "member", (n,)."""
        branches = (
            self.prediction(torch.softmax(logits, dim=1)),
            self.label(one_hot(labels, self.classes).to(logits.dtype)),
        )
        fused: Tensor = self.fused(torch.cat(branches, dim=1))
        return fused.squeeze(1)


def stack(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Return linear layers of these widths, each with a ReLU and, where asked, dropout."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class PublishedNeuralAttack(DescendingAttack):
    """A two-branch network on the softmax and the one-hot label, batches half members.

    The published code keeps the epoch that is best on the rows it is judged on. Here the epoch is
    chosen on a cut of the fit half, so the judged half stays unseen.

    Args:
        epochs: passes over the larger group; the smaller one is repeated.
        batch_size: rows a step, half of them members; even.
        learning_rate: of Adam.
        validation: share of the fit half that chooses the epoch, in [0, 1); 0 keeps the last.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Zhu et al., Safety and Performance, Why not Both?, ASE 2022 (arXiv 2208.05969).
    """

    name: ClassVar[str] = "neural-published"

    def network(self, classes: int) -> nn.Module:
        """Return the untrained network."""
        return PublishedNetwork(classes)

    def columns(self, evidence: Evidence) -> Columns:
        """Return what the network is shown."""
        outputs = evidence.outputs
        return outputs.logits.float(), outputs.labels


ATTACKS.add(
    "neural-published",
    PublishedNeuralAttack,
    summary="the published framework's two-branch network on softmax and one-hot label",
    reference="Zhu et al., ASE 2022 (arXiv 2208.05969)",
    cost="about 15 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)
