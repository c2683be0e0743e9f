"""The pair attack: who holds the dense model and the compressed one compares what they say.

How sure a model is of a row mostly says how easy the row is. A second model that was made from the
first finds the row as easy or as hard, so that the difference of the two keeps what each learned by
heart, and little else. No score is free of parameters: compression may forget what it had learned
by heart or learn it anew, so the sign of the difference has to be learned, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from safecompress.attacks.features import OutputFeatures
from safecompress.attacks.metric import Terms
from safecompress.attacks.network import NetworkAttack
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.errors import DataError
from safecompress.protocols import Evidence, Outputs


@dataclass(frozen=True)
class PairAttack(NetworkAttack):
    """A network on what both models say of a row, and on how they differ.

    Args:
        top: largest log-probabilities shown of each model, in falling order.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the attacker of CompLeak, USENIX Security 2026, who holds the original model and a
    compressed one.
    """

    name: ClassVar[str] = "pair"
    requires: ClassVar[frozenset[str]] = frozenset({"parent"})

    top: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, top=1)

    def features(self, evidence: Evidence) -> Tensor:
        """Return what the target says, what the parent says, and how they differ.

        Raises:
            DataError: when the two differ in their classes.
        """
        ours, theirs = evidence.outputs, cast(Outputs, evidence.parent)
        if ours.logits.shape != theirs.logits.shape:
            raise DataError(
                f"{self.name}: outputs {tuple(ours.logits.shape)} of the compressed model, "
                f"{tuple(theirs.logits.shape)} of the dense one; expected the same rows and "
                "classes."
            )
        both = [o.per_row(OutputFeatures(self.top)) for o in (ours, theirs)]
        return torch.cat([*both, differences(ours, theirs)], dim=1)


ATTACKS.add(
    "pair",
    PairAttack,
    summary="a small network on what the dense and the compressed model say, and how they differ",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.05 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)


def differences(ours: Outputs, theirs: Outputs) -> Tensor:
    """Return how two models differ on each row, float64 (n, 7), finite.

    The differences of the log-odds of the true class, of the loss, and of the modified entropy; the
    logarithms of the ratio of their losses and of both divergences KL(ours ‖ theirs) and
    KL(theirs ‖ ours); whether they predict the same class.
    """
    mine, other = Terms.of(ours), Terms.of(theirs)
    p, q = (torch.log_softmax(o.logits.double(), dim=1) for o in (ours, theirs))
    forward = (p.exp() * (p - q)).sum(dim=1)
    backward = (q.exp() * (q - p)).sum(dim=1)
    columns = (
        mine.odds - other.odds,
        mine.loss - other.loss,
        mine.modified_entropy - other.modified_entropy,
        _log(mine.loss) - _log(other.loss),
        _log(forward),
        _log(backward),
        (ours.logits.argmax(dim=1) == theirs.logits.argmax(dim=1)).double(),
    )
    # With a single class the log-odds are infinite, and their difference says nothing.
    return torch.stack(columns, dim=1).nan_to_num(nan=0.0)


def _log(nats: Tensor) -> Tensor:
    """Return the logarithm of what is at least 0, down to where float64 has no digits left."""
    return torch.log(nats.clamp(min=1e-16))
