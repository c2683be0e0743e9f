"""`GapAttack`: the correctness gap, the baseline of all attacks that see only predicted classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import Attack, Evidence


@dataclass(frozen=True)
class GapAttack(Attack):
    """Members are classified correctly more often.

    The attack's advantage is the gap between training and test accuracy, so a defense that hides or
    flattens confidence does not weaken it.

    Reference: Yeom et al., CSF 2018, adversary 1 with the zero-one loss.
    """

    name: ClassVar[str] = "gap"
    signals: ClassVar[str] = "label"
    label_only: ClassVar[bool] = True
    two_valued: ClassVar[bool] = True

    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return 1.0 where the prediction is correct, 0.0 where it is wrong, float64 (n,).

        Args:
            fitted: not used.
            evidence: the target's outputs on n rows.
        """
        del fitted
        return evidence.outputs.correct.double()


ATTACKS.add(
    "gap",
    GapAttack,
    summary="members are classified correctly more often; needs only the predicted class",
    reference="Yeom et al., CSF 2018",
    cost="about 0.01 s for 20,000 rows × 100 classes on one core",
)
