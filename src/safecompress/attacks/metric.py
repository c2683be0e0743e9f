"""Metric attacks: one number per row, read off the cached outputs; nothing is learnt.

All four are computed in float64 from log-odds instead of probabilities, so that saturated rows
stay apart as long as their loss is above 1e-320 (a logit gap of about 740); a plain fp64 softmax
ties them from a gap of 37 on. Higher scores are worse: they look more like a member.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from safecompress.protocols import Attack, Evidence, Outputs

Metric: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_BLOCK = 1 << 21
"""Logits worked on at once; bounds the fp64 copies to about 16 MB each, whatever the classes."""


def log_odds(logits: Tensor, index: Tensor) -> Tensor:
    """Return log p − log(1 − p) of one class per row, exact where a softmax saturates.

    Args:
        logits: float (n, classes).
        index: int64 (n,), the class.

    Returns:
        (n,), same dtype as `logits`; +inf where there is only one class.
    """
    column = index[:, None]
    others = torch.logsumexp(logits.scatter(1, column, -torch.inf), dim=1)
    return logits.gather(1, column).squeeze(1) - others


def true_class_log_odds(outputs: Outputs) -> Tensor:
    """Return the log-odds of each row's label, float64 (n,).

    Reference: the logit-scaled confidence of Carlini et al., S&P 2022, section V.
    """
    return by_blocks(log_odds, outputs)


def by_blocks(metric: Metric, outputs: Outputs) -> Tensor:
    """Apply `metric(logits, labels)` to blocks of rows in float64; return float64 (n,)."""
    rows = max(1, _BLOCK // max(1, outputs.classes))
    parts = [
        metric(logits.double(), labels)
        for logits, labels in zip(
            torch.split(outputs.logits, rows), torch.split(outputs.labels, rows), strict=True
        )
    ]
    return torch.cat(parts)


class Terms(NamedTuple):
    """What every metric is made of, each free of cancellation.

    Args:
        odds: (n,), log-odds of the true class.
        top_odds: (n,), log-odds of the top class.
        surprise: (n, classes), −log p.
        complement: (n, classes), −log(1 − p); with a single class 0.
        probabilities: (n, classes).
    """

    odds: Tensor
    top_odds: Tensor
    surprise: Tensor
    complement: Tensor
    probabilities: Tensor

    @property
    def loss(self) -> Tensor:
        """Cross-entropy −log p_y, (n,), in nats."""
        return minus_log(self.odds)

    @property
    def entropy(self) -> Tensor:
        """Entropy −Σ p log p, (n,), in nats."""
        return (self.probabilities * self.surprise).sum(dim=1)

    def modified_entropy(self, labels: Tensor) -> Tensor:
        """Return −(1 − p_y) log p_y − Σ_{i≠y} p_i log(1 − p_i), (n,), in nats.

        Reference: Song & Mittal, USENIX Security 2021, equation 8.
        """
        wrong = (self.probabilities * self.complement).scatter(1, labels[:, None], 0.0)
        return torch.sigmoid(-self.odds) * self.loss + wrong.sum(dim=1)


def terms(logits: Tensor, labels: Tensor) -> Terms:
    """Return the terms of every metric, differentiable in `logits`.

    Only the top class of a row can have p > ½, so it alone needs its log-odds; for every other
    class the plain formulas lose nothing.
    """
    top = logits.argmax(dim=1)
    column = top[:, None]
    top_odds = log_odds(logits, top)
    surprise = -torch.log_softmax(logits, dim=1)
    surprise = surprise.scatter(1, column, minus_log(top_odds)[:, None])
    probabilities = torch.exp(-surprise)
    complement = -torch.log1p(-probabilities.scatter(1, column, 0.0))
    if logits.shape[1] > 1:
        complement = complement.scatter(1, column, minus_log(-top_odds)[:, None])
    return Terms(log_odds(logits, labels), top_odds, surprise, complement, probabilities)


def minus_log(odds: Tensor) -> Tensor:
    """Return −log p from the log-odds of p; torch's own softplus is cut to linear at 20."""
    return (-odds).clamp(min=0) + torch.log1p(torch.exp(-odds.abs()))


@dataclass(frozen=True)
class MetricAttack(Attack):
    """A parameter-free attack; authors give `metric(logits, labels)`, higher = more member."""

    name: ClassVar[str] = "metric"

    @staticmethod
    @abstractmethod
    def metric(logits: Tensor, labels: Tensor) -> Tensor:
        """Return one score per row of float64 `logits` (n, classes), higher = more member."""

    @final
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return one score per row, float64 (n,), higher = more member."""
        del fitted
        return by_blocks(self.metric, evidence.outputs)


@dataclass(frozen=True)
class LossAttack(MetricAttack):
    """Members have a lower loss.

    Reference: Yeom et al., CSF 2018, adversary 1 with a learnt threshold.
    """

    name: ClassVar[str] = "loss"

    @staticmethod
    def metric(logits: Tensor, labels: Tensor) -> Tensor:
        """Return minus the cross-entropy."""
        return -minus_log(log_odds(logits, labels))


@dataclass(frozen=True)
class ConfidenceAttack(MetricAttack):
    """Members are predicted with a higher top probability; the attacker needs no label.

    The score is the log-odds of the top class, which ranks as its probability does. The true
    class's probability ranks as the loss does, so it is not an attack of its own.

    Reference: Salem et al., NDSS 2019, adversary 3.
    """

    name: ClassVar[str] = "confidence"

    @staticmethod
    def metric(logits: Tensor, labels: Tensor) -> Tensor:
        """Return the log-odds of the top class; 0 where there is only one class."""
        del labels
        return log_odds(logits, logits.argmax(dim=1)).nan_to_num(posinf=0.0)


@dataclass(frozen=True)
class EntropyAttack(MetricAttack):
    """Members are predicted with a lower entropy; the attacker needs no label.

    Reference: Salem et al., NDSS 2019, adversary 3; Song & Mittal, USENIX Security 2021, eq. 7.
    """

    name: ClassVar[str] = "entropy"

    @staticmethod
    def metric(logits: Tensor, labels: Tensor) -> Tensor:
        """Return minus the entropy."""
        return -terms(logits, labels).entropy


@dataclass(frozen=True)
class ModifiedEntropyAttack(MetricAttack):
    """Members have a lower entropy that also counts whether the prediction is right.

    Reference: Song & Mittal, USENIX Security 2021, equation 8.
    """

    name: ClassVar[str] = "modified-entropy"

    @staticmethod
    def metric(logits: Tensor, labels: Tensor) -> Tensor:
        """Return minus the modified entropy."""
        return -terms(logits, labels).modified_entropy(labels)
