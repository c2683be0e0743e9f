"""`MetricAttack` and its four forms: attacks whose score is one statistic of a row's outputs.

All four are computed in float64 from log-odds instead of probabilities, so that saturated rows
stay distinct as long as their loss is above 1e-320 (a logit gap of about 740). A plain float64
softmax makes them tie from a gap of 37 on. Higher scores are worse: the row looks more like a
member.

The attacks share their terms, which are computed once per `Outputs`, in one pass over the logits.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import (
    Attack,
    Evidence,
    Outputs,
    Pool,
    by_blocks,
    log_odds,
    one_thread,
    per_row_of_both,
)

_NOTHING = -800.0
"""A number x with exp(x) = 0 and x · exp(x) = 0 exactly; for x = -inf the product is NaN."""

_ROUNDING = 1e-5
"""Largest level, in nats, that the rounding of log-probabilities to 32 bits leaves."""

_SHARED = "about 0.04 s for 20,000 rows × 100 classes on one core, all metric attacks together"


def true_class_log_odds(outputs: Outputs) -> Tensor:
    """Return the log-odds of each row's label, float64 (n,), in nats; +inf with a single class.

    Args:
        outputs: outputs on n rows.

    Reference: the logit-scaled confidence of Carlini et al., S&P 2022, section V.
    """
    return by_blocks(lambda z, y: log_odds(z.double(), y), outputs.logits, outputs.labels)


class Terms(NamedTuple):
    """The quantities that every metric is computed from, each (n,) and free of cancellation.

    Args:
        odds: log-odds of the true class, in nats; +inf where there is only one class.
        top_odds: log-odds of the top class, in nats; +inf where there is only one class.
        entropy: −Σ p log p, in nats.
        modified_entropy: −(1 − p_y) log p_y − Σ_{i≠y} p_i log(1 − p_i), in nats.
        level: log Σ exp(logit), the logits' common level, in nats, which probabilities do not tell;
            0 where the logits are log-probabilities.

    Reference: Song & Mittal, USENIX Security 2021, equations 7 and 8; for the level, the negative
    free energy of Liu et al., NeurIPS 2020, equation 4 at temperature 1.
    """

    odds: Tensor
    top_odds: Tensor
    entropy: Tensor
    modified_entropy: Tensor
    level: Tensor

    @classmethod
    def of(cls, outputs: Outputs) -> Terms:
        """Return the terms of all rows in float64, computed once for these outputs.

        Args:
            outputs: outputs on n rows.
        """
        return cls(*outputs.per_row(_terms_table).unbind(1))

    @property
    def loss(self) -> Tensor:
        """Cross-entropy −log p_y, (n,), in nats."""
        return minus_log(self.odds)


def _terms_table(outputs: Outputs) -> Tensor:
    """Return the terms as the columns of one float64 table, (n, 5)."""
    return by_blocks(
        lambda z, y: torch.stack(terms(z, y, dtype=torch.float64), dim=1),
        outputs.logits,
        outputs.labels,
    )


def terms(logits: Tensor, labels: Tensor, *, dtype: torch.dtype | None = None) -> Terms:
    """Return the terms of every metric, differentiable in `logits`.

    Only the top class of a row can have p > ½, so only it needs log-odds; for every other class the
    plain formulas are exact. Exponentials are taken relative to the runner-up, so that the total
    probability of the other classes stays exact however far ahead the top class is.

    Args:
        logits: float (n, classes).
        labels: int64 (n,).
        dtype: the dtype to compute in; None is that of the logits.
    """
    dtype = dtype or logits.dtype
    if logits.shape[1] == 1:
        zero = logits[:, 0].to(dtype) * 0.0
        certain = zero + torch.inf
        return Terms(certain, certain, zero, zero, logits[:, 0].to(dtype))
    # Conversion to `dtype` keeps the order of the classes, so the top is found before it.
    top = logits.detach().max(dim=1).indices[:, None]
    label = labels[:, None]
    runner_up = logits.detach().scatter(1, top, -torch.inf).amax(dim=1, keepdim=True).to(dtype)

    logits = logits.to(dtype)
    behind = (logits - runner_up).scatter_(1, top, _NOTHING)
    share = torch.exp(behind)
    total = share.sum(dim=1)
    highest = logits.gather(1, top)
    lead = (highest - runner_up).squeeze(1)
    top_odds = lead - torch.log(total)
    top_surprise, top_probability = minus_log(top_odds), torch.sigmoid(top_odds)
    # −log p of the runner-up. Every other class's is this minus its (negative) `behind`.
    surprise = lead + top_surprise
    unit = torch.exp(-surprise)
    entropy = (
        top_probability * top_surprise
        + unit * (surprise * total - (share * behind).sum(dim=1))
    )  # fmt: skip

    hit = (top == label).squeeze(1)
    # The negated probabilities of the classes that are neither the top nor the label.
    negated = (share * -unit[:, None]).scatter_(1, label, 0.0)
    label_behind = (logits.gather(1, label) - runner_up).squeeze(1)
    label_probability = torch.exp(label_behind.clamp(max=0.0) - surprise)
    missed = label_behind - surprise - torch.log1p(-label_probability)
    odds = torch.where(hit, top_odds, missed)
    others = torch.where(hit, 0.0, top_probability * (top_surprise + top_odds))
    others = others + (negated * torch.log1p(negated)).sum(dim=1)
    modified_entropy = torch.sigmoid(-odds) * minus_log(odds) + others
    level = common_level(highest.squeeze(1), top_surprise)
    return Terms(odds, top_odds, entropy, modified_entropy, level)


def common_level(largest: Tensor, surprise: Tensor) -> Tensor:
    """Return log Σ exp(logit) of rows, in nats, and 0 where no more than rounding is left of it.

    Log-probabilities have the level 0. What their rounding leaves would be noise to whoever learns
    from it, as large as any other number once it is standardized.

    Args:
        largest: the largest logit of each row.
        surprise: −log p of its class, in nats.
    """
    level = largest + surprise
    return torch.where(level.abs() > _ROUNDING, level, 0.0)


def minus_log(odds: Tensor) -> Tensor:
    """Return −log p, in nats.

    Args:
        odds: log-odds of p, float.
    """
    # softplus switches to x at its threshold. At the default 20 that drops digits, at 40 none.
    return softplus(-odds, threshold=40.0)


@dataclass(frozen=True)
class MetricAttack(Attack):
    """An attack that learns nothing; authors write `metric(values)`."""

    name: ClassVar[str] = "metric"

    @staticmethod
    @abstractmethod
    def metric(values: Terms) -> Tensor:
        """Return one score per row, float64 (n,), higher = more likely a member.

        Args:
            values: float64 terms of n rows.
        """

    @final
    def read(self, outputs: Pool[Outputs]) -> None:
        """Compute the terms of both groups in one pass.

        Args:
            outputs: the target's outputs on the members and on the non-members.
        """
        with one_thread():
            per_row_of_both(outputs, _terms_table)

    @final
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return one score per row, float64 (n,), higher = more likely a member.

        Args:
            fitted: not used.
            evidence: the target's outputs on n rows.
        """
        del fitted
        return self.metric(Terms.of(evidence.outputs))


@dataclass(frozen=True)
class LossAttack(MetricAttack):
    """Members have a lower loss.

    Reference: Yeom et al., CSF 2018, adversary 1 with a learned threshold.
    """

    name: ClassVar[str] = "loss"
    signals: ClassVar[str] = "label"

    @staticmethod
    def metric(values: Terms) -> Tensor:
        """Return minus the cross-entropy, float64 (n,), in nats.

        Args:
            values: float64 terms of n rows.
        """
        return -values.loss


ATTACKS.add(
    "loss",
    LossAttack,
    summary="members have a lower cross-entropy",
    reference="Yeom et al., CSF 2018",
    cost=_SHARED,
)


@dataclass(frozen=True)
class ConfidenceAttack(MetricAttack):
    """Members are predicted with a higher top probability; the attacker needs no label.

    The score is the log-odds of the top class, which rank rows as its probability does. The true
    class's probability ranks rows as the loss does, so it needs no attack of its own.

    Reference: Salem et al., NDSS 2019, adversary 3.
    """

    name: ClassVar[str] = "confidence"
    signals: ClassVar[str] = "vector"

    @staticmethod
    def metric(values: Terms) -> Tensor:
        """Return the top class's log-odds, float64 (n,), in nats; 0 where it is the only class.

        Args:
            values: float64 terms of n rows.
        """
        return values.top_odds.nan_to_num(posinf=0.0)


ATTACKS.add(
    "confidence",
    ConfidenceAttack,
    summary="members have a higher top probability; needs no label",
    reference="Salem et al., NDSS 2019",
    cost=_SHARED,
)


@dataclass(frozen=True)
class EntropyAttack(MetricAttack):
    """Members are predicted with a lower entropy; the attacker needs no label.

    Reference: Salem et al., NDSS 2019, adversary 3; Song & Mittal, USENIX Security 2021, eq. 7.
    """

    name: ClassVar[str] = "entropy"
    signals: ClassVar[str] = "vector"

    @staticmethod
    def metric(values: Terms) -> Tensor:
        """Return minus the entropy, float64 (n,), in nats.

        Args:
            values: float64 terms of n rows.
        """
        return -values.entropy


ATTACKS.add(
    "entropy",
    EntropyAttack,
    summary="members have a lower entropy; needs no label",
    reference="Salem et al., NDSS 2019; Song & Mittal, USENIX Security 2021, eq. 7",
    cost=_SHARED,
)


@dataclass(frozen=True)
class ModifiedEntropyAttack(MetricAttack):
    """Members have a lower entropy that also counts whether the prediction is right.

    Reference: Song & Mittal, USENIX Security 2021, equation 8.
    """

    name: ClassVar[str] = "modified-entropy"
    signals: ClassVar[str] = "vector"

    @staticmethod
    def metric(values: Terms) -> Tensor:
        """Return minus the modified entropy, float64 (n,), in nats.

        Args:
            values: float64 terms of n rows.
        """
        return -values.modified_entropy


ATTACKS.add(
    "modified-entropy",
    ModifiedEntropyAttack,
    summary="members have a lower entropy that counts whether the prediction is right",
    reference="Song & Mittal, USENIX Security 2021, eq. 8",
    cost=_SHARED,
)
