"""Label-only by augmentation: a member stays right when it is changed a little, and for longer.

Nothing but predicted classes is asked for, so a defense that hides or flattens confidence does not
weaken the attack; and unlike the correctness gap it can tell two rows apart that are both right.
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
        network: reads how often a row stayed right at each strength.
    """

    perturbations: Perturbations
    network: Network


@dataclass(frozen=True)
class AugmentationAttack(Attack):
    """A network on how often changed copies of a row are still classified as its label.

    Each row costs `levels · copies` queries; what was predicted for the row itself is known.

    Args:
        levels: strengths, from a flip in 200 yes/no columns (a shift by one pixel, one word in 50)
            on, each twice the one before.
        copies: changed copies at each strength; of an image at most 8 differ.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Choquette-Choo et al., Label-Only Membership Inference Attacks, ICML 2021,
    sections 4.1 and 4.3.
    """

    name: ClassVar[str] = "augmentation"
    requires: ClassVar[frozenset[str]] = frozenset({"rows", "target"})
    learns: ClassVar[bool] = True
    label_only: ClassVar[bool] = True

    levels: int = 6
    copies: int = 8

    def __post_init__(self) -> None:
        require_at_least(self, levels=1, copies=1)

    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedAugmentation:
        """Learn how inputs vary, and which numbers of right copies members have.

        Raises:
            UndecidableError: where there is nothing in the inputs that could be changed.
        """
        groups = known.map(in_id_order)
        perturbations = Perturbations.like(cast(Rows, groups.nonmembers.rows).inputs, seed=seed)
        raw = groups.map(lambda e: self._features(perturbations, e))
        network = Network.learned(raw, NetworkOptions(), seed=seed, name=self.name)
        return FittedAugmentation(perturbations, network)

    def score(self, fitted: FittedAugmentation, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,)."""
        return fitted.network(self._features(fitted.perturbations, evidence))

    def _features(self, perturbations: Perturbations, evidence: Evidence) -> Tensor:
        """Return the share of right copies at each strength and in all, (n, levels + 2)."""
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
