"""GFCS: the source's gradient tried as it is; where it fails, other directions the source knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safecompress.attacks.transfer.aim import Loss, input_gradient, require_loss
from safecompress.attacks.transfer.query_attack import QueryAttack, QueryTask
from safecompress.attacks.transfer.registry import QUERY_ATTACKS
from safecompress.errors import ConfigError, MissingEvidenceError
from safecompress.protocols import Source
from safecompress.randomness import generator


@final
@dataclass(frozen=True)
class Gfcs(QueryAttack):
    """Gradient first, coimage second.

    In each iteration one step forth along a direction is tried and, if the target's margin does
    not rise, one back. The direction is the source's margin gradient; after it failed both ways,
    gradients of random mixtures of the source's logits until one of them helps.

    Args:
        step: size of a step as a share of the radius, > 0; the published 2 of √(0.001 · 224² · 3).
        loss: `margin` or `cross-entropy`.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Lord, Mueller & Bertinetto, ICLR 2022 (arXiv 2203.08725), algorithm 1; mixtures of
    logits are the diversified sampling of Tashiro et al., NeurIPS 2020.
    """

    name: ClassVar[str] = "gfcs"
    needs_source: ClassVar[bool] = True

    step: float = 2 / (0.001 * 224 * 224 * 3) ** 0.5
    loss: Loss = "margin"

    def __post_init__(self) -> None:
        if not 0 < self.step < float("inf"):
            raise ConfigError(f"step is {self.step}; expected a positive share of the radius.")
        require_loss(self.loss)

    def hunt_(self, hunt: QueryTask, *, source: Source | None, seed: int) -> None:
        if source is None:
            raise MissingEvidenceError(f"{self.name}: needs a model that the attacker holds.")
        best = hunt.x.clone()
        height = hunt.attempt(hunt.open, hunt.x)
        failed = torch.zeros(len(best), dtype=torch.bool, device=best.device)
        iteration = 0
        while len(rows := hunt.open):
            direction = torch.empty_like(best[rows])
            first = ~failed[rows]
            if bool(first.any()):
                who = rows[first]
                direction[first] = input_gradient(source, best[who], hunt.aim.take(who))
            if not bool(first.all()):
                mixed = self._mixture(source, best[rows[~first]], seed=seed, iteration=iteration)
                direction[~first] = mixed
            move = hunt.ball.step(direction, self.step * hunt.ball.radius)
            risen = torch.zeros_like(first)
            for sign in (1, -1):
                left = (~risen & torch.isin(rows, hunt.open)).nonzero().squeeze(1)
                who = rows[left]
                tried = hunt.ball.project(best[who] + sign * move[left], hunt.x[who])
                value = hunt.attempt(who, tried)
                better = value > height[who]
                best[who[better]], height[who[better]] = tried[better], value[better]
                risen[left[better]] = True
            failed[rows] = ~risen
            iteration += 1

    def _mixture(self, source: Source, points: Tensor, *, seed: int, iteration: int) -> Tensor:
        """Return the gradient of a random mixture of the source's logits at each point."""
        draw = generator(seed, self.name, "mixture", iteration)
        with torch.enable_grad():
            asked = points.detach().requires_grad_()
            logits = source(asked)
            weights = 2 * torch.rand(logits.shape[1], generator=draw) - 1
            (gradient,) = torch.autograd.grad((logits * weights.to(logits)).sum(), asked)
        return gradient.detach()


QUERY_ATTACKS.add(
    "gfcs",
    Gfcs,
    summary="the source's gradient forth and back, then gradients of mixtures of its logits",
    reference="Lord, Mueller & Bertinetto, ICLR 2022",
    cost="1 or 2 questions a step",
)
