"""The family attack: who holds several compressed versions of one model compares them.

Versions of one model agree on what they all learned and differ by chance on the rest. The order of
the versions means nothing, so only summaries over them are read.
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
    """A network on what the judged model says, and on summaries of what its siblings say.

    Of every feature: its mean, deviation, smallest and largest value over the siblings, and how far
    the judged model is from their mean.

    Args:
        top: largest log-probabilities shown of each model, in falling order.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the attacker of CompLeak, USENIX Security 2026, who holds several compressed
    versions.
    """

    name: ClassVar[str] = "family"
    requires: ClassVar[frozenset[str]] = frozenset({"family"})

    top: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, top=1)

    def features(self, evidence: Evidence) -> Tensor:
        """Return the target's features and the family's summaries, (n, 6 · (top + 7))."""
        own = evidence.outputs.per_row(OutputFeatures(self.top))
        family = cast("tuple[Outputs, ...]", evidence.family)
        said = torch.stack([o.per_row(OutputFeatures(self.top)) for o in family])
        mean = said.mean(dim=0)
        deviation = said.std(dim=0, correction=0)
        return torch.cat([own, mean, deviation, *said.aminmax(dim=0), own - mean], dim=1)


ATTACKS.add(
    "family",
    FamilyAttack,
    summary="a small network on how several compressed versions differ",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.08 s for 1,000 + 1,000 fit rows × 2 versions on one core; linear in rows",
)
