"""`Answers`, `Facing`, `numbers`: how a model's whole answer lies to those of reference models.

The log-odds of the label are one number of an answer. A model that was trained on another model's
outputs does not fit its label; what it memorizes shows in how sure it is of anything and in how far
its answer lies from what others say of the row. The numbers here are means over some references of
one number of a reference, or of one number of a pair of model and reference. So they follow for any
choice of references from a table of pairs, whose size does not depend on the number of classes.

Probabilities do not tell the level that all logits of an answer have in common; a model can tell a
member in it as well, so it is compared, too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from safecompress.attacks.metric import common_level

_FLOOR = -14.0
"""Least log-probability, in nats: a class that one model rules out says little beyond that."""

OWN = 4
"""Numbers of a model's own answer: log-odds of the label, entropy, log-probability of the top class
and its log-odds."""
OUTSIDE = 8
"""Numbers that compare it with references that did not see the row."""
INSIDE = 4
"""Numbers that compare the references that saw the row with those that did not."""


class Answers(NamedTuple):
    """What m models say of b rows.

    Args:
        odds: float64 (m, b), log-odds of the label, in nats.
        entropy: float64 (m, b), in nats.
        top: float64 (m, b), log-probability of the top class, in nats.
        top_odds: float64 (m, b), log-odds of the top class, in nats; finite.
        log_p: float64 (m, b, classes), log-probabilities, at least -14.
        p: float64 (m, b, classes), their exponentials.
        best: int64 (m, b), the top class.
        level: float64 (m, b), log Σ exp(logit), in nats.
    """

    odds: Tensor
    entropy: Tensor
    top: Tensor
    top_odds: Tensor
    log_p: Tensor
    p: Tensor
    best: Tensor
    level: Tensor

    @classmethod
    def of(cls, logits: Tensor, odds: Tensor) -> Answers:
        """Return the answers that logits mean.

        Args:
            logits: float (m, b, classes), at least 2 classes.
            odds: float64 (m, b), log-odds of the label.
        """
        logits = logits.double()
        log_p = torch.log_softmax(logits, dim=2)
        top, best = log_p.max(dim=2)
        column = best.unsqueeze(2)
        level = common_level(logits.gather(2, column).squeeze(2), -top)
        # The sum without the top class is exact where the top class's probability rounds to 1.
        rest = log_p.exp().scatter_(2, column, 0.0).sum(dim=2)
        least = torch.finfo(rest.dtype).tiny
        log_p = log_p.clamp_(min=_FLOOR)
        p = log_p.exp()
        entropy = -(p * log_p).sum(dim=2)
        return cls(odds, entropy, top, top - rest.clamp(min=least).log(), log_p, p, best, level)


class Facing(NamedTuple):
    """Numbers of every pair of one of j models and one of k references, float64 (b, j, k) each.

    Args:
        model_by_reference: −Σ p log q, p the model's and q the reference's probabilities, in nats.
        reference_by_model: −Σ q log p, in nats.
        at_model: log q of the class that the model puts first.
        at_reference: log p of the class that the reference puts first.
    """

    model_by_reference: Tensor
    reference_by_model: Tensor
    at_model: Tensor
    at_reference: Tensor

    @classmethod
    def of(cls, models: Answers, references: Answers) -> Facing:
        """Return the numbers of all pairs on the same b rows.

        Args:
            models: answers of j models.
            references: answers of k references.
        """
        (log_p, p), (log_q, q) = (
            (a.log_p.transpose(0, 1), a.p.transpose(0, 1)) for a in (models, references)
        )
        return cls(
            -(p @ log_q.transpose(1, 2)),
            -(log_p @ q.transpose(1, 2)),
            _at(log_q, models.best).transpose(1, 2),
            _at(log_p, references.best),
        )


def _at(log_p: Tensor, best: Tensor) -> Tensor:
    """Return each model's log-probability of others' top classes, (b, models, others)."""
    index = best.T.unsqueeze(1).expand(-1, log_p.shape[1], -1)
    return log_p.gather(2, index)


def numbers(
    models: Answers, references: Answers, facing: Facing, *, outside: Tensor, inside: Tensor | None
) -> Tensor:
    """Return the numbers of every row and model, float64 (b, j, 12), or 16 with `inside`.

    Args:
        models: answers of j models.
        references: answers of k references.
        facing: the numbers of their pairs.
        outside: bool (b, j, k), the references that did not see the row and are compared; the means
            of a row without any are 0.
        inside: bool (b, j, k), references that saw the row; where a row has none, its last four
            numbers are 0. None leaves these numbers out.
    """
    out = _Means(outside)
    entropy, top = models.entropy.T, models.top.T
    columns = [
        models.odds.T,
        entropy,
        top,
        models.top_odds.T,
        mean_odds := out.of(references.odds),
        mean_entropy := out.of(references.entropy),
        out.of(references.top_odds),
        # Mean Kullback-Leibler divergences, of the model from the references and of them from it.
        away := out.of_pairs(facing.model_by_reference) - entropy,
        out.of_pairs(facing.reference_by_model) - mean_entropy,
        out.of_pairs(facing.at_reference) - out.of(references.top),
        top - out.of_pairs(facing.at_model),
        models.level.T - (mean_level := out.of(references.level)),
    ]
    if inside is not None:
        known = inside.any(dim=2)
        within = _Means(inside)
        columns += [
            torch.where(known, value, 0.0)
            for value in (
                within.of(references.odds) - mean_odds,
                within.of(references.entropy) - mean_entropy,
                within.of_pairs(facing.model_by_reference) - entropy - away,
                within.of(references.level) - mean_level,
            )
        ]
    return torch.stack(columns, dim=2)


class _Means:
    """Means over the references that each of j models is compared with, of each of b rows."""

    def __init__(self, chosen: Tensor) -> None:
        weight = chosen.double()
        self.weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=1.0)

    def of(self, values: Tensor) -> Tensor:
        """Return the means of a number of the references, (k, b) → (b, j)."""
        return torch.einsum("bjk,kb->bj", self.weight, values)

    def of_pairs(self, values: Tensor) -> Tensor:
        """Return the means of a number of the pairs, (b, j, k) → (b, j)."""
        return (self.weight * values).sum(dim=2)
