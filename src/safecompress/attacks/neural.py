"""`NeuralAttack`: a small network on features of one prediction.

On location30 it beats both the best metric attack and the published network; see
`benchmarks/attacker_strength.py`, and `benchmarks/gate.py` for what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from safecompress.attacks.features import OutputFeatures
from safecompress.attacks.network import NetworkAttack
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Evidence


@dataclass(frozen=True)
class NeuralAttack(NetworkAttack):
    """A network of one hidden layer on sorted log-probabilities, loss, entropies, correctness.

    Args:
        top: number of largest log-probabilities read, in falling order.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the features follow Salem et al., NDSS 2019, adversary 1, and Song & Mittal, 2021.
    """

    name: ClassVar[str] = "neural"
    signals: ClassVar[str] = "vector"

    top: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, top=1)

    def features(self, evidence: Evidence) -> Tensor:
        """Return the features of the target's outputs, float64 (n, top + 7).

        Args:
            evidence: the target's outputs on n rows.
        """
        return evidence.outputs.per_row(OutputFeatures(self.top))


ATTACKS.add(
    "neural",
    NeuralAttack,
    summary="a small network on sorted log-probabilities, loss, entropies and correctness",
    reference="features after Salem et al., NDSS 2019, and Song & Mittal, USENIX Security 2021",
    cost="about 0.01 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)
