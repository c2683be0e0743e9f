"""`PairAttack`: membership inference from a dense model and the compressed model made from it.

A model's confidence in a row mostly reflects how easy the row is. Both models find a row about
equally easy, so the difference of their outputs mainly reflects what each has memorized. The attack
learns its score, because compression can weaken or strengthen memorization and the sign of the
difference is therefore not known in advance.
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
    """A network on the features of both models' outputs and on their differences.

    Args:
        top: number of largest log-probabilities read of each model, in falling order.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the attacker of CompLeak, USENIX Security 2026, who holds the original model and a
    compressed one.
    """

    name: ClassVar[str] = "pair"
    signals: ClassVar[str] = "versions"
    requires: ClassVar[frozenset[str]] = frozenset({"parent"})

    top: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, top=1)

    def features(self, evidence: Evidence) -> Tensor:
        """Return the features of the target and of the parent, and `differences` of the two.

        The result is float64 (n, 2 · (top + 7) + 7).

        Args:
            evidence: outputs of the compressed model and of its dense parent on n rows.

        Raises:
            DataError: when the two models have different numbers of rows or classes.
        """
        target, parent = evidence.outputs, cast(Outputs, evidence.parent)
        if target.logits.shape != parent.logits.shape:
            raise DataError(
                f"{self.name}: outputs {tuple(target.logits.shape)} of the compressed model, "
                f"{tuple(parent.logits.shape)} of the dense one; expected the same rows and "
                "classes."
            )
        both = [o.per_row(OutputFeatures(self.top)) for o in (target, parent)]
        return torch.cat([*both, differences(target, parent)], dim=1)


ATTACKS.add(
    "pair",
    PairAttack,
    summary="a small network on what the dense and the compressed model say, and how they differ",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.05 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)


def differences(first: Outputs, second: Outputs) -> Tensor:
    """Return differences of two models' outputs on each row, float64 (n, 7), finite.

    They are the differences of the log-odds of the true class, of the loss, and of the modified
    entropy, each of `first` minus `second`; the logarithms of the ratio of the losses and of the
    divergences KL(first ‖ second) and KL(second ‖ first); and whether both predict the same class.

    Args:
        first: outputs of one model.
        second: outputs of the other on the same rows, with the same classes.
    """
    a, b = Terms.of(first), Terms.of(second)
    p, q = (torch.log_softmax(o.logits.double(), dim=1) for o in (first, second))
    forward = (p.exp() * (p - q)).sum(dim=1)
    backward = (q.exp() * (q - p)).sum(dim=1)
    columns = (
        a.odds - b.odds,
        a.loss - b.loss,
        a.modified_entropy - b.modified_entropy,
        _log(a.loss) - _log(b.loss),
        _log(forward),
        _log(backward),
        (first.logits.argmax(dim=1) == second.logits.argmax(dim=1)).double(),
    )
    # With a single class the log-odds are infinite and their difference is NaN; report none.
    return torch.stack(columns, dim=1).nan_to_num(nan=0.0)


def _log(nats: Tensor) -> Tensor:
    """Return the logarithm of numbers ≥ 0; those below 1e-16, rounding errors, count as 1e-16."""
    return torch.log(nats.clamp(min=1e-16))
