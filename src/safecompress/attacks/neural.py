"""The neural attack: a few tiny networks on what one prediction gives away.

On location30 it beats both the best metric attack and the published network, in about 1/60 of the
latter's time; see `benchmarks/attacker_strength.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from safecompress.attacks.features import (
    Parameters,
    feature_count,
    features,
    initial_parameters,
    membership_logits,
)
from safecompress.attacks.metric import by_blocks
from safecompress.errors import ConfigError
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import permutation

_FEWEST_ROWS = 16
"""Steps on fewer rows than this are noise."""

_CLIP = 5.0
"""Standardised features beyond this many deviations are cut: one odd row must not steer a net."""


def in_id_order(outputs: Outputs) -> Outputs:
    """Return the rows sorted by id, so that what is learnt does not depend on the row order."""
    return outputs.take(torch.argsort(outputs.ids, stable=True))


@dataclass(frozen=True)
class FittedNeural:
    """What the neural attack has learnt.

    Args:
        mean, scale: float64 (features,), of the fit half.
        parameters: the networks, float32.
    """

    mean: Tensor
    scale: Tensor
    parameters: Parameters

    def standardised(self, raw: Tensor) -> Tensor:
        """Return float32 features on the fit half's scale, cut at ±5 deviations."""
        return ((raw - self.mean) / self.scale).clamp(-_CLIP, _CLIP).float()


@dataclass(frozen=True)
class NeuralAttack(Attack):
    """Networks of one hidden layer on sorted log-probabilities, loss, entropies, correctness.

    The fit half is cut into `heads` folds. Every head stops at its own best epoch on its own fold
    and learns on the others; the score is the mean of their logits. The judged half is never used.

    Args:
        hidden: units of the hidden layer.
        heads: networks, and folds of the fit half, at least 2.
        top: largest log-probabilities shown, in falling order.
        epochs: passes over the fit half.
        batch_size: most rows a step; a small fit half is cut into at least four steps.
        learning_rate: of Adam at the first pass, falling linearly to zero.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the features follow Salem et al., NDSS 2019, adversary 1, and Song & Mittal, 2021.
    """

    name: ClassVar[str] = "neural"
    learns: ClassVar[bool] = True

    hidden: int = 64
    heads: int = 4
    top: int = 5
    epochs: int = 20
    batch_size: int = 2048
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        at_least_one = ("hidden", "top", "epochs", "batch_size")
        for option, least in {**dict.fromkeys(at_least_one, 1), "heads": 2}.items():
            if getattr(self, option) < least:
                raise ConfigError(
                    f"{option} is {getattr(self, option)}; expected at least {least}."
                )
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate is {self.learning_rate}; expected (0, 1).")

    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedNeural:
        """Learn to tell the fit half's members from its non-members."""
        groups = [in_id_order(e.outputs) for e in (known.members, known.nonmembers)]
        raw = torch.cat([self._features(outputs) for outputs in groups])
        scale = raw.std(dim=0, correction=0)
        blank = FittedNeural(
            mean=raw.mean(dim=0),
            # A constant column carries nothing; dividing by one keeps it at zero.
            scale=torch.where(scale > 1e-12, scale, torch.ones_like(scale)),
            parameters=initial_parameters(
                feature_count(groups[0].classes, top=self.top),
                hidden=self.hidden,
                heads=self.heads,
                seed=seed,
                name=self.name,
            ),
        )
        x = blank.standardised(raw)
        members = torch.arange(len(x)) < len(groups[0])
        folds = self._folds(members, seed=seed)
        return FittedNeural(
            blank.mean, blank.scale, self._learn(blank.parameters, x, members, folds, seed=seed)
        )

    @torch.no_grad()
    def score(self, fitted: FittedNeural, evidence: Evidence) -> Tensor:
        """Return the heads' mean logit of "member", float64 (n,)."""
        x = fitted.standardised(self._features(evidence.outputs))
        return membership_logits(fitted.parameters, x).double().mean(dim=0)

    @torch.no_grad()
    def _features(self, outputs: Outputs) -> Tensor:
        return by_blocks(lambda z, y: features(z, y, top=self.top), outputs)

    def _folds(self, members: Tensor, *, seed: int) -> Tensor:
        """Return each row's fold, int64 (n,), dealt out evenly among members and non-members."""
        folds = torch.empty(len(members), dtype=torch.long)
        for side, name in ((members, "members"), (~members, "nonmembers")):
            n = int(side.sum())
            folds[side] = permutation(n, seed, "attack", self.name, name) % self.heads
        return folds

    @torch.enable_grad()
    def _learn(
        self, initial: Parameters, x: Tensor, members: Tensor, folds: Tensor, *, seed: int
    ) -> Parameters:
        target = members.float()
        balance = torch.where(members, 0.5 / members.sum(), 0.5 / (~members).sum())
        held_out = folds == torch.arange(self.heads)[:, None]
        learning = torch.where(held_out, 0.0, balance)
        learning = learning / learning.mean(dim=1, keepdim=True).clamp(min=1e-12)
        validation = torch.where(held_out, balance, 0.0)
        parameters = [p.clone().requires_grad_() for p in initial]
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        kept = [p.detach().clone() for p in parameters]
        best = torch.full((self.heads,), torch.inf)
        batch_size = min(self.batch_size, max(_FEWEST_ROWS, math.ceil(len(x) / 4)))
        for epoch in range(self.epochs):
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1 - epoch / self.epochs)
            order = permutation(len(x), seed, "attack", self.name, "epoch", epoch)
            for rows in torch.split(order, batch_size):
                optimizer.zero_grad()
                losses = _cross_entropy(parameters, x[rows], target[rows])
                (losses * learning[:, rows]).mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with torch.no_grad():
                value = (_cross_entropy(parameters, x, target) * validation).sum(dim=1)
            better = value < best
            best = torch.where(better, value, best)
            for keep, parameter in zip(kept, parameters, strict=True):
                keep[better] = parameter.detach()[better]
        return kept[0], kept[1], kept[2], kept[3]


def _cross_entropy(parameters: list[Tensor], x: Tensor, target: Tensor) -> Tensor:
    """Return every head's cross-entropy on every row, (heads, n)."""
    first, first_bias, last, last_bias = parameters
    logits = membership_logits((first, first_bias, last, last_bias), x)
    return binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
