"""`Square`: a query attack by random changes in square windows, without any gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from safecompress.attacks.transfer.aim import Loss, require_loss
from safecompress.attacks.transfer.query_attack import QueryAttack, QueryTask
from safecompress.attacks.transfer.registry import QUERY_ATTACKS
from safecompress.attacks.transfer.windows import bumps, bumps_all_over
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Source
from safecompress.randomness import generator

_IMAGE_DIMENSIONS = 4
_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Iterations, of 10,000, after which the windows' fraction of the image is halved."""
_SCALE = 10_000
_SMALLEST_L2 = 3
_TINY = 1e-10


@final
@dataclass(frozen=True)
class Square(QueryAttack):
    """Random search on the ball's boundary: redraw one window of the change, keep improvements.

    All rows use the same windows and signs, so that a row's result does not depend on the others.

    Args:
        share: initial size of the windows as a fraction of the image, in (0, 1]; None is the
            published 0.05 for L∞ and 0.1 for L2.
        length: number of iterations over which windows shrink as the published ones do over
            10,000, at least 1; None is the budget.
        compare_start: whether to query the row itself first, and to start there where the start
            on the boundary is worse; the published algorithm does not.
        loss: `margin` or `cross-entropy`.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Andriushchenko et al., ECCV 2020, algorithms 1 to 3.
    """

    name: ClassVar[str] = "square"

    share: float | None = None
    length: int | None = None
    compare_start: bool = False
    loss: Loss = "margin"

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share <= 1:
            raise ConfigError(f"share is {self.share}; expected a share of the image in (0, 1].")
        if self.length is not None and self.length < 1:
            raise ConfigError(f"length is {self.length}; expected at least 1 iteration.")
        require_loss(self.loss)

    def hunt_(self, task: QueryTask, *, source: Source | None, seed: int) -> None:
        """Query until no row is open.

        Args:
            task: the rows; all queries go through it.
            source: not used.
            seed: seed of windows and signs.

        Raises:
            UndecidableError: when the inputs are not images (n, channels, height, width).
        """
        del source
        if task.x.ndim != _IMAGE_DIMENSIONS:
            raise UndecidableError(
                f"{self.name}: needs images (n, channels, height, width), got inputs of shape "
                f"{tuple(task.x.shape)}."
            )
        linf = task.ball.norm == "linf"
        draw = generator(seed, self.name, "start")
        start = self._stripes(task, draw) if linf else self._tiles(task, draw)
        best, height = task.x.clone(), torch.full((len(start),), -torch.inf).to(start)
        if self.compare_start:
            height = task.attempt(task.open, task.x)
        rows = task.open
        value = task.attempt(rows, start[rows])
        better = value > height[rows]
        best[rows[better]], height[rows[better]] = start[rows[better]], value[better]
        iteration = 0
        while len(rows := task.open):
            draw = generator(seed, self.name, "window", iteration)
            side = self._side(task, iteration)
            changed = self._redrawn if linf else self._moved
            tried = changed(task, rows, best[rows], side, draw)
            value = task.attempt(rows, tried)
            better = value > height[rows]
            best[rows[better]], height[rows[better]] = tried[better], value[better]
            iteration += 1

    def _side(self, task: QueryTask, iteration: int) -> int:
        """Return the side of the windows in an iteration, in pixels."""
        rows, columns = task.x.shape[2:]
        first = self.share or (0.05 if task.ball.norm == "linf" else 0.1)
        place = iteration / (self.length or task.budget) * _SCALE
        halvings = sum(place > at for at in _HALVED_AT)
        side = round(math.sqrt(first / 2**halvings * rows * columns))
        if task.ball.norm == "l2":
            side = max(side, _SMALLEST_L2)
            side += side % 2 == 0
        return min(max(side, 1), rows, columns)

    def _stripes(self, task: QueryTask, draw: torch.Generator) -> Tensor:
        """Return the L∞ start: every column of every channel moved by ±radius."""
        channels, _, columns = task.x.shape[1:]
        signs = _signs((channels, 1, columns), draw).to(task.x)
        return task.ball.project(task.x + task.ball.radius * signs, task.x)

    def _redrawn(
        self, task: QueryTask, rows: Tensor, best: Tensor, side: int, draw: torch.Generator
    ) -> Tensor:
        """Return the points with one window set to the row ± radius, with a sign per channel."""
        top, left = _corner(task, side, draw)
        signs = _signs((task.x.shape[1], 1, 1), draw).to(best)
        tried = best.clone()
        here = (..., slice(top, top + side), slice(left, left + side))
        tried[here] = task.x[rows][here] + task.ball.radius * signs
        return task.ball.project(tried, task.x[rows])

    def _tiles(self, task: QueryTask, draw: torch.Generator) -> Tensor:
        """Return the L2 start: the rows plus tiled bumps of random signs, of length radius."""
        change = bumps_all_over(tuple(task.x.shape[1:]), draw).to(task.x)
        change = change * (task.ball.radius / change.norm())
        return task.ball.project(task.x + change, task.x)

    def _moved(
        self, task: QueryTask, rows: Tensor, best: Tensor, side: int, draw: torch.Generator
    ) -> Tensor:
        """Return the points with the change in one window replaced by a bump in another.

        The bump gets the L2 length that the removal frees.
        """
        x, radius = task.x[rows], task.ball.radius
        channels = x.shape[1]
        change = best - x
        corners = [_corner(task, side, draw) for _ in range(2)]
        here, there = (
            (..., slice(top, top + side), slice(left, left + side)) for top, left in corners
        )
        mask = torch.zeros(x.shape[2:], dtype=torch.bool, device=x.device)
        mask[here], mask[there] = True, True
        freed = (change * mask).square().sum(dim=(2, 3), keepdim=True)
        unused = (radius**2 - change.square().sum(dim=(1, 2, 3), keepdim=True)).clamp(min=0)
        old = change[here]
        shape = bumps(side, draw).to(x) * _signs((channels, 1, 1), draw).to(x)
        shape = shape + old / (old.square().sum(dim=(2, 3), keepdim=True).sqrt() + _TINY)
        shape = shape / (shape.square().sum(dim=(2, 3), keepdim=True).sqrt() + _TINY)
        change[there] = 0.0
        change[here] = shape * (freed + unused / channels).sqrt()
        length = change.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return task.ball.project(x + radius * change / (length + _TINY), x)


QUERY_ATTACKS.add(
    "square",
    Square,
    summary="random square windows, kept where they help; no source; images only",
    reference="Andriushchenko et al., ECCV 2020",
    cost="1 question a step",
)


def _signs(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=draw) - 1.0


def _corner(task: QueryTask, side: int, draw: torch.Generator) -> tuple[int, int]:
    """Return the top and left pixel of a random window of that side inside the image."""
    rows, columns = task.x.shape[2:]
    top, left = (
        int(torch.randint(0, size - side + 1, (), generator=draw)) for size in (rows, columns)
    )
    return top, left
