"""`FamilyAttack`: membership inference from several compressed versions of one model.

Versions of one model agree on what they all learned and differ by chance on the rest. Their order
carries no information, so the attack reads only statistics over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from safecompress.attacks.features import OutputFeatures
from safecompress.attacks.network import NetworkAttack
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Evidence, Outputs


@dataclass(frozen=True)
class FamilyAttack(NetworkAttack):
    """A network on features of the target's outputs and on statistics over its siblings' outputs.

    For every feature the network reads the target's value, the mean, standard deviation, minimum
    and maximum over the siblings, and the difference of the target's value and the mean.

    Args:
        top: number of largest log-probabilities read of each model, in falling order.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the attacker of CompLeak, USENIX Security 2026, who holds several compressed
    versions.
    """

    name: ClassVar[str] = "family"
    signals: ClassVar[str] = "versions"
    requires: ClassVar[frozenset[str]] = frozenset({"family"})

    top: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, top=1)

    def features(self, evidence: Evidence) -> Tensor:
        """Return the target's features and the family's statistics, float64 (n, 6 · (top + 7)).

        Args:
            evidence: outputs of the target and of its family on n rows.
        """
        target = evidence.outputs.per_row(OutputFeatures(self.top))
        family = cast("tuple[Outputs, ...]", evidence.family)
        siblings = torch.stack([o.per_row(OutputFeatures(self.top)) for o in family])
        mean = siblings.mean(dim=0)
        deviation = siblings.std(dim=0, correction=0)
        extremes = siblings.aminmax(dim=0)
        return torch.cat([target, mean, deviation, *extremes, target - mean], dim=1)


ATTACKS.add(
    "family",
    FamilyAttack,
    summary="a small network on how several compressed versions differ",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.08 s for 1,000 + 1,000 fit rows × 2 versions on one core; linear in rows",
)
