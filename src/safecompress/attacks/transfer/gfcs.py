"""`Gfcs`: a query attack along a source's gradient, and along other gradients where it fails."""

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

    In each iteration a step along a direction is tried and, if the target's margin does not rise,
    a step in the opposite direction. The direction is the source's margin gradient. After it has
    failed both ways, the directions are gradients of random linear combinations of the source's
    logits until one of them helps.

    Args:
        step: size of a step as a fraction of the radius, > 0; by default the published 2 of
            √(0.001 · 224² · 3).
        loss: `margin` or `cross-entropy`.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Lord, Mueller & Bertinetto, ICLR 2022 (arXiv 2203.08725), algorithm 1; random
    combinations of logits are the diversified sampling of Tashiro et al., NeurIPS 2020.
    """

    name: ClassVar[str] = "gfcs"
    needs_source: ClassVar[bool] = True

    step: float = 2 / (0.001 * 224 * 224 * 3) ** 0.5
    loss: Loss = "margin"

    def __post_init__(self) -> None:
        if not 0 < self.step < float("inf"):
            raise ConfigError(f"step is {self.step}; expected a positive share of the radius.")
        require_loss(self.loss)

    def hunt_(self, task: QueryTask, *, source: Source | None, seed: int) -> None:
        if source is None:
            raise MissingEvidenceError(f"{self.name}: needs a model that the attacker holds.")
        best = task.x.clone()
        height = task.attempt(task.open, task.x)
        failed = torch.zeros(len(best), dtype=torch.bool, device=best.device)
        iteration = 0
        while len(rows := task.open):
            direction = torch.empty_like(best[rows])
            first = ~failed[rows]
            if bool(first.any()):
                active = rows[first]
                direction[first] = input_gradient(source, best[active], task.aim.take(active))
            if not bool(first.all()):
                mixed = self._mixture(source, best[rows[~first]], seed=seed, iteration=iteration)
                direction[~first] = mixed
            move = task.ball.step(direction, self.step * task.ball.radius)
            improved = torch.zeros_like(first)
            for sign in (1, -1):
                left = (~improved & torch.isin(rows, task.open)).nonzero().squeeze(1)
                active = rows[left]
                tried = task.ball.project(best[active] + sign * move[left], task.x[active])
                value = task.attempt(active, tried)
                better = value > height[active]
                best[active[better]], height[active[better]] = tried[better], value[better]
                improved[left[better]] = True
            failed[rows] = ~improved
            iteration += 1

    def _mixture(self, source: Source, points: Tensor, *, seed: int, iteration: int) -> Tensor:
        """Return the gradient of a random combination of the source's logits at each point."""
        draw = generator(seed, self.name, "mixture", iteration)
        with torch.enable_grad():
            leaf = points.detach().requires_grad_()
            logits = source(leaf)
            weights = 2 * torch.rand(logits.shape[1], generator=draw) - 1
            (gradient,) = torch.autograd.grad((logits * weights.to(logits)).sum(), leaf)
        return gradient.detach()


QUERY_ATTACKS.add(
    "gfcs",
    Gfcs,
    summary="the source's gradient forth and back, then gradients of mixtures of its logits",
    reference="Lord, Mueller & Bertinetto, ICLR 2022",
    cost="1 or 2 questions a step",
)
