"""`IteratedAttack`: the base of gradient attacks, an ascent in steps that stays inside a ball."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
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
    """Gradient ascent whose points are projected to the ball after every step.

    Of several restarts the point with the highest loss on the source is kept, because an attacker
    with a single attempt would send this one.

    Args:
        steps: number of steps, at least 1.
        step: size of a step as a fraction of the radius, > 0; None is 2.5 / steps.
        loss: `cross-entropy` or `margin`.
        restarts: number of ascents, at least 1. The first starts at the row itself unless
            `random_start`, the others at random points of the ball.
        random_start: whether the first ascent starts at a random point, too.
        early_stop: whether the ascent of a row ends as soon as the source is fooled. This is right
            when the source itself is attacked; points for another model get stronger by further
            steps.

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

    def gradient(
        self, source: Source, points: Tensor, aim: Aim, *, ball: Ball, draw: torch.Generator
    ) -> Tensor:
        """Return the gradient that one step follows, (n, …); by default that at the points.

        Args:
            source: the model the attacker holds.
            points: float (n, …).
            aim: the value of the n rows.
            ball: the points that may be sent; has the input range, and which numbers may change.
            draw: random generator of this ascent; what is drawn applies to all rows alike.
        """
        del ball, draw
        return input_gradient(source, points, aim)

    def followed(
        self, source: Source, x: Tensor, aim: Aim, *, ball: Ball, draw: torch.Generator
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function of points and of their rows' positions whose result a step follows.

        By default that is `gradient`, which does not depend on the rows themselves.

        Args:
            source: the model the attacker holds.
            x: the rows, float (n, …).
            aim: the value of the n rows.
            ball: the points that may be sent.
            draw: random generator of this ascent.
        """
        del x
        return lambda points, rows: self.gradient(
            source, points, aim.take(rows), ball=ball, draw=draw
        )

    @abstractmethod
    def direction(self, gradient: Tensor, before: Tensor) -> Tensor:
        """Return the direction of a step, (n, …), whose length does not matter.

        Args:
            gradient: gradient of each row's value at its point, float (n, …).
            before: direction of the step before, float (n, …); zero before the first step.
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
            points = self._climbed(source, start, x[rows], aim.take(rows), ball, random)
            with torch.no_grad():
                logits = source(points)
            value = aim.take(rows).value(logits).to(x)
            reached = aim.take(rows).reached(logits)
            if self.early_stop:
                # A point that fools the source is better than any that does not.
                value = value.masked_fill(reached, torch.inf)
            better = value > height[rows]
            best[rows[better]], height[rows[better]] = points[better], value[better]
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
        points, direction = start.clone(), torch.zeros_like(start)
        rows = torch.arange(len(x), device=x.device)
        followed = self.followed(source, x, aim, ball=ball, draw=random)
        for _ in range(self.steps):
            if self.early_stop and len(rows):
                with torch.no_grad():
                    rows = rows[~aim.take(rows).reached(source(points[rows]))]
            if not len(rows):
                break
            direction[rows] = self.direction(followed(points[rows], rows), direction[rows])
            points[rows] = ball.project(points[rows] + ball.step(direction[rows], size), x[rows])
        return points
