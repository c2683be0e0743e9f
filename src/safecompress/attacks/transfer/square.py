"""Square attack: random changes in square windows, kept where they help; no gradient anywhere."""

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
"""Iterations, of 10,000, after which the windows' share of the image is halved."""
_SCALE = 10_000
_SMALLEST_L2 = 3
_TINY = 1e-10


@final
@dataclass(frozen=True)
class Square(QueryAttack):
    """Start at the ball's rim, redraw one window of the change at a time, keep what raises the aim.

    All rows are tried with the same windows and signs, so that rows do not depend on each other.

    Args:
        share: first windows' share of the image, in (0, 1]; the published 0.05 for L∞, 0.1 for L2
            where None.
        length: iterations over which windows shrink as published over 10,000; None is the budget.
        compare_start: whether to ask about the row itself first, and begin there where the start at
            the rim is worse; the published algorithm does not.
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

    def hunt_(self, hunt: QueryTask, *, source: Source | None, seed: int) -> None:
        """Hunt all rows.

        Raises:
            UndecidableError: where the inputs are no images (n, channels, height, width).
        """
        del source
        if hunt.x.ndim != _IMAGE_DIMENSIONS:
            raise UndecidableError(
                f"{self.name}: needs images (n, channels, height, width), got inputs of shape "
                f"{tuple(hunt.x.shape)}."
            )
        far = hunt.ball.norm == "linf"
        draw = generator(seed, self.name, "start")
        start = self._stripes(hunt, draw) if far else self._tiles(hunt, draw)
        best, height = hunt.x.clone(), torch.full((len(start),), -torch.inf).to(start)
        if self.compare_start:
            height = hunt.attempt(hunt.open, hunt.x)
        rows = hunt.open
        value = hunt.attempt(rows, start[rows])
        better = value > height[rows]
        best[rows[better]], height[rows[better]] = start[rows[better]], value[better]
        iteration = 0
        while len(rows := hunt.open):
            draw = generator(seed, self.name, "window", iteration)
            side = self._side(hunt, iteration)
            changed = self._redrawn if far else self._moved
            tried = changed(hunt, rows, best[rows], side, draw)
            value = hunt.attempt(rows, tried)
            better = value > height[rows]
            best[rows[better]], height[rows[better]] = tried[better], value[better]
            iteration += 1

    def _side(self, hunt: QueryTask, iteration: int) -> int:
        """Return the side of a window in pixels."""
        rows, columns = hunt.x.shape[2:]
        first = self.share or (0.05 if hunt.ball.norm == "linf" else 0.1)
        place = iteration / (self.length or hunt.budget) * _SCALE
        halvings = sum(place > at for at in _HALVED_AT)
        side = round(math.sqrt(first / 2**halvings * rows * columns))
        if hunt.ball.norm == "l2":
            side = max(side, _SMALLEST_L2)
            side += side % 2 == 0
        return min(max(side, 1), rows, columns)

    def _stripes(self, hunt: QueryTask, draw: torch.Generator) -> Tensor:
        """Return the rows with every column of every channel moved by ±radius."""
        channels, _, columns = hunt.x.shape[1:]
        signs = _signs((channels, 1, columns), draw).to(hunt.x)
        return hunt.ball.project(hunt.x + hunt.ball.radius * signs, hunt.x)

    def _redrawn(
        self, hunt: QueryTask, rows: Tensor, best: Tensor, side: int, draw: torch.Generator
    ) -> Tensor:
        """Return the points with one window moved by ±radius from the row, channel by channel."""
        top, left = _corner(hunt, side, draw)
        signs = _signs((hunt.x.shape[1], 1, 1), draw).to(best)
        tried = best.clone()
        here = (..., slice(top, top + side), slice(left, left + side))
        tried[here] = hunt.x[rows][here] + hunt.ball.radius * signs
        return hunt.ball.project(tried, hunt.x[rows])

    def _tiles(self, hunt: QueryTask, draw: torch.Generator) -> Tensor:
        """Return the rows changed all over by bumps of random signs, at full length."""
        change = bumps_all_over(tuple(hunt.x.shape[1:]), draw).to(hunt.x)
        change = change * (hunt.ball.radius / change.norm())
        return hunt.ball.project(hunt.x + change, hunt.x)

    def _moved(
        self, hunt: QueryTask, rows: Tensor, best: Tensor, side: int, draw: torch.Generator
    ) -> Tensor:
        """Return the points with the change of one window given up for a bump in another."""
        x, radius = hunt.x[rows], hunt.ball.radius
        channels = x.shape[1]
        change = best - x
        one, other = (_corner(hunt, side, draw) for _ in range(2))
        here, there = (
            (..., slice(top, top + side), slice(left, left + side)) for top, left in (one, other)
        )
        mask = torch.zeros(x.shape[2:], dtype=torch.bool, device=x.device)
        mask[here], mask[there] = True, True
        freed = (change * mask).square().sum(dim=(2, 3), keepdim=True)
        unused = (radius**2 - change.square().sum(dim=(1, 2, 3), keepdim=True)).clamp(min=0)
        own = change[here]
        shape = bumps(side, draw).to(x) * _signs((channels, 1, 1), draw).to(x)
        shape = shape + own / (own.square().sum(dim=(2, 3), keepdim=True).sqrt() + _TINY)
        shape = shape / (shape.square().sum(dim=(2, 3), keepdim=True).sqrt() + _TINY)
        change[there] = 0.0
        change[here] = shape * (freed + unused / channels).sqrt()
        length = change.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return hunt.ball.project(x + radius * change / (length + _TINY), x)


QUERY_ATTACKS.add(
    "square",
    Square,
    summary="random square windows, kept where they help; no source; images only",
    reference="Andriushchenko et al., ECCV 2020",
    cost="1 question a step",
)


def _signs(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=draw) - 1.0


def _corner(hunt: QueryTask, side: int, draw: torch.Generator) -> tuple[int, int]:
    """Return where a window of that side lies, anywhere in the image."""
    rows, columns = hunt.x.shape[2:]
    place = [int(torch.randint(0, size - side + 1, (), generator=draw)) for size in (rows, columns)]
    return place[0], place[1]
