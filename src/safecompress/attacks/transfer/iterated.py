"""Climbing in steps inside a ball: what the gradient attacks share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from safecompress.attacks.transfer.aim import Aim, Loss, input_gradient, require_loss
from safecompress.errors import ConfigError
from safecompress.protocols import Ball, Source, TransferAttack
from safecompress.randomness import generator


@dataclass(frozen=True)
class IteratedAttack(TransferAttack):
    """Steps along a direction made of gradients, each put back into the ball.

    Of several restarts the point with the highest loss on the source is kept: it is the one that
    an attacker who may send a single point would send.

    Args:
        steps: number of steps, at least 1.
        step: size of a step as a share of the radius, > 0; None is 2.5 / steps.
        loss: `cross-entropy` or `margin`.
        restarts: how often it begins anew, at least 1; the first begins at the row itself unless
            `random_start`, the others at random points of the ball.
        random_start: whether the first begins at a random point, too.
        early_stop: whether a row leaves the batch as soon as the source is fooled. Right for the
            question whether the source can be fooled; a point meant for another model should go
            on.

    Raises:
        ConfigError: when an option is out of range.
    """

    steps: int = 10
    step: float | None = None
    loss: Loss = "cross-entropy"
    restarts: int = 1
    random_start: bool = False
    early_stop: bool = False

    def __post_init__(self) -> None:
        for option in ("steps", "restarts"):
            if getattr(self, option) < 1:
                raise ConfigError(f"{option} is {getattr(self, option)}; expected at least 1.")
        if self.step is not None and not 0 < self.step < float("inf"):
            raise ConfigError(f"step is {self.step}; expected a positive share of the radius.")
        require_loss(self.loss)

    @abstractmethod
    def seen(self, points: Tensor, *, source: torch.Generator) -> Tensor:
        """Return what the source is shown of the points in one step, differentiably.

        Args:
            points: (n, …).
            source: of what is random in this step; the same for all rows.
        """

    @abstractmethod
    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        """Return where to go, (n, …), from the gradient and the direction of the step before.

        The direction before the first step is zero.
        """

    @final
    def perturb(
        self,
        source: Source,
        x: Tensor,
        labels: Tensor,
        *,
        ball: Ball,
        seed: int,
        targets: Tensor | None = None,
    ) -> Tensor:
        aim = Aim(labels, targets, self.loss)
        best, height = x.clone(), torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            if not len(rows):
                break
            random = generator(seed, self.name, "restart", restart)
            start = ball.draw(x[rows], random) if restart or self.random_start else x[rows]
            found = self._climbed(source, start, x[rows], aim.take(rows), ball, random)
            with torch.no_grad():
                logits = source(found)
            value = aim.take(rows).value(logits).to(x)
            reached = aim.take(rows).reached(logits)
            if self.early_stop:
                # One that fools is better than any that does not, however high that one lies.
                value = value.masked_fill(reached, torch.inf)
            better = value > height[rows]
            best[rows[better]], height[rows[better]] = found[better], value[better]
            if self.early_stop:
                rows = rows[~reached]
        return best

    def _climbed(
        self,
        source: Source,
        start: Tensor,
        x: Tensor,
        aim: Aim,
        ball: Ball,
        random: torch.Generator,
    ) -> Tensor:
        size = ball.radius * (2.5 / self.steps if self.step is None else self.step)
        points, going = start.clone(), torch.zeros_like(start)
        rows = torch.arange(len(x), device=x.device)
        for _ in range(self.steps):
            if self.early_stop and len(rows):
                with torch.no_grad():
                    rows = rows[~aim.take(rows).reached(source(points[rows]))]
            if not len(rows):
                break
            gradient = input_gradient(
                lambda p: source(self.seen(p, source=random)), points[rows], aim.take(rows)
            )
            going[rows] = self.direction(gradient, going[rows])
            points[rows] = ball.project(points[rows] + ball.step(going[rows], size), x[rows])
        return points
