"""`SamiaAttack`: a self-attention network over a model's answer, made for pruned models.

Pruning widens the gap between what a model says of members and of others differently in each class.
So the network looks at all classes at once, and at how steady each answer is, instead of the
label's confidence alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, one_hot

from safecompress.attacks.descent import Columns, DescendingAttack
from safecompress.attacks.options import require_at_least
from safecompress.attacks.perturbations import Perturbations
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Evidence, Pool, Rows
from safecompress.train.predict import predict

_WIDTH, _HEADS, _LAYERS, _FORWARD, _DROPOUT = 64, 4, 3, 128, 0.2
_TOKENS = 3
_LEAST = 1e-9
"""Added to sensitivities before their logarithm is taken: below what 32-bit logits resolve."""


class SamiaNetwork(nn.Module):
    """A transformer encoder over the classes, each with its probability, sensitivity and truth.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.norm = nn.BatchNorm1d(_TOKENS * classes)
        self.embed = nn.Linear(_TOKENS, _WIDTH)
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, _FORWARD, _DROPOUT, activation="gelu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)
        self.joint = nn.Linear(_WIDTH * classes, _WIDTH)
        self.out = nn.Linear(_WIDTH, 1)

    def forward(self, probabilities: Tensor, sensitivities: Tensor, labels: Tensor) -> Tensor:
        """Return the logit of "member", (n,).

        Args:
            probabilities: the target's, float32 (n, classes), in [0, 1].
            sensitivities: the logarithm of how much each changes with the inputs, float32
                (n, classes).
            labels: int64 (n,).
        """
        truth = one_hot(labels, self.classes).to(probabilities.dtype)
        flat = self.norm(torch.cat([probabilities, sensitivities, truth], dim=1))
        tokens = flat.view(len(flat), _TOKENS, self.classes).transpose(1, 2)
        encoded = self.encoder(gelu(self.embed(tokens))).flatten(1)
        logit: Tensor = self.out(torch.relu(self.joint(encoded)))
        return logit.squeeze(1)


@dataclass(frozen=True)
class SamiaAttack(DescendingAttack):
    """Self-attention over the posterior, its sensitivity to the inputs and the ground truth.

    A class's sensitivity is the mean absolute change of its probability when the inputs are changed
    a little, over `copies` changes that are the same for all rows.

    Args:
        epochs: number of passes over the larger group; the smaller one is repeated.
        batch_size: number of rows in a step, half of them members; even.
        learning_rate: step size of Adam, in (0, 1).
        validation: fraction of the fit half held out to choose the epoch, in [0, 1); 0 keeps the
            last epoch.
        copies: number of changed copies of each row that are asked about, at least 1; for images
            at most 8 differ.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Yuan & Zhang, "Membership Inference Attacks and Defenses in Neural Network Pruning",
    USENIX Security 2022, section 5. There inputs get Gaussian noise of standard deviation 0.001 and
    the network is trained by SGD on shadow models; here inputs change as `Perturbations` do, so
    that words and yes/no columns have a sensitivity, too, its logarithm is read, because it spans
    orders of magnitude, and the network learns on the fit half.
    """

    name: ClassVar[str] = "samia"
    signals: ClassVar[str] = "vector"
    requires: ClassVar[frozenset[str]] = frozenset({"rows", "target"})

    epochs: int = 15
    batch_size: int = 32
    copies: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, copies=1)

    def network(self, classes: int) -> nn.Module:
        """Return the untrained network.

        Args:
            classes: number of classes.
        """
        return SamiaNetwork(classes)

    def reader(self, known: Pool[Evidence], *, seed: int) -> Callable[[Evidence], Columns]:
        """Return what asks the target about rows and their changed copies.

        Args:
            known: evidence about the fit half's members and non-members, sorted by id.
            seed: seed of the changes.

        Raises:
            UndecidableError: when no part of the inputs can be changed.
        """
        inputs = cast(Rows, known.nonmembers.rows).inputs
        return partial(self.columns, changes=Perturbations.like(inputs, seed=seed))

    def columns(self, evidence: Evidence, changes: Perturbations | None = None) -> Columns:
        """Return probabilities, log sensitivities, float32 (n, classes), and labels, int64 (n,).

        Args:
            evidence: the target's outputs on n rows, the rows, and the model to ask.
            changes: how inputs like these are changed; None takes their scales from these rows.
        """
        outputs, rows = evidence.outputs, cast(Rows, evidence.rows)
        changes = changes or Perturbations.like(rows.inputs, seed=0)
        target = cast(nn.Module, evidence.target)
        said = outputs.logits.double().softmax(dim=1)
        moved = torch.zeros_like(said)
        for copy in range(self.copies):
            changed = Rows(changes(rows.inputs, level=0, copy=copy), rows.labels, rows.ids)
            moved += (predict(target, changed).logits.double().softmax(dim=1) - said).abs()
        sensitivities = (moved / self.copies + _LEAST).log()
        return said.float(), sensitivities.float(), outputs.labels


ATTACKS.add(
    "samia",
    SamiaAttack,
    summary="self-attention over all classes: probability, sensitivity to the inputs, truth",
    reference="Yuan & Zhang, USENIX Security 2022",
    cost="8 predictions for each row, and about 30 s for 1,000 + 1,000 fit rows × 30 classes",
)
