"""`AugmentationAttack`: label-only inference from predictions on changed copies of a row.

Small changes of a member's input change its predicted class less often than those of a non-member.
The attack uses predicted classes only, so a defense that hides or flattens confidence does not
weaken it. Unlike the correctness gap, it can tell apart two rows that are both classified
correctly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from safecompress.attacks.network import Network, NetworkOptions, in_id_order
from safecompress.attacks.options import require_at_least
from safecompress.attacks.oracle import Oracle
from safecompress.attacks.perturbations import Perturbations
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Attack, Evidence, Pool, Rows


@dataclass(frozen=True)
class FittedAugmentation:
    """What the attack has learned.

    Args:
        perturbations: how inputs like these are changed.
        network: maps the fractions of correctly classified copies at each strength to a score.
    """

    perturbations: Perturbations
    network: Network


@dataclass(frozen=True)
class AugmentationAttack(Attack):
    """A network on how often changed copies of a row are still classified as its label.

    Each row costs `levels · copies` queries; the prediction on the row itself is known beforehand.

    Args:
        levels: number of strengths of change. The first flips one yes/no column in 200, shifts an
            image by one pixel, or drops one word in 50; each further one is twice as strong.
        copies: number of changed copies at each strength; for images at most 8 differ.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Choquette-Choo et al., Label-Only Membership Inference Attacks, ICML 2021,
    sections 4.1 and 4.3.
    """

    name: ClassVar[str] = "augmentation"
    signals: ClassVar[str] = "neighbors"
    requires: ClassVar[frozenset[str]] = frozenset({"rows", "target"})
    learns: ClassVar[bool] = True
    directed: ClassVar[bool] = False
    label_only: ClassVar[bool] = True

    levels: int = 6
    copies: int = 8

    def __post_init__(self) -> None:
        require_at_least(self, levels=1, copies=1)

    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedAugmentation:
        """Learn how inputs vary, and how often copies of members are classified correctly.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the changes and of the network.

        Raises:
            UndecidableError: when no part of the inputs can be changed.
        """
        groups = known.map(in_id_order)
        perturbations = Perturbations.like(cast(Rows, groups.nonmembers.rows).inputs, seed=seed)
        raw = groups.map(lambda e: self._features(perturbations, e))
        network = Network.learned(raw, NetworkOptions(), seed=seed, name=self.name)
        return FittedAugmentation(perturbations, network)

    def score(self, fitted: FittedAugmentation, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,).

        Args:
            fitted: what `fit` returned.
            evidence: rows and the model to query about them.
        """
        return fitted.network(self._features(fitted.perturbations, evidence))

    def _features(self, perturbations: Perturbations, evidence: Evidence) -> Tensor:
        """Return correctness, the fraction of correct copies at each strength, and their sum.

        The result is float64 (n, levels + 2).
        """
        rows = cast(Rows, evidence.rows)
        oracle = Oracle(cast(nn.Module, evidence.target))
        shares = []
        for level in range(self.levels):
            hits = torch.zeros(len(rows), dtype=torch.float64)
            for copy in range(self.copies):
                hits += oracle(perturbations(rows.inputs, level=level, copy=copy)) == rows.labels
            shares.append(hits / self.copies)
        right = evidence.outputs.correct.double()
        return torch.stack([right, *shares, sum(shares, right)], dim=1)


ATTACKS.add(
    "augmentation",
    AugmentationAttack,
    summary="members stay right under small changes; asks for predicted classes alone",
    reference="Choquette-Choo et al., ICML 2021",
    cost="96 predictions for each row of the fit half, 48 for each other",
)
