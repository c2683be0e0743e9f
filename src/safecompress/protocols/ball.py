"""What an attacker may send in a row's place: points near it, and inside the input range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from safecompress.errors import ConfigError

Norm: TypeAlias = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = ("linf", "l2")


@dataclass(frozen=True)
class Ball:
    """All points within `radius` of a row and between `low` and `high`.

    Points and rows are float tensors (n, …) in the unit of the range; a ball holds row by row.

    Args:
        norm: `linf` (the largest change of any number) or `l2` (Euclidean length of the change).
        radius: in the unit of the range, at least 0.
        low, high: the input range.
        moving: says of rows (n, …) which of their numbers may change, bool, of a shape that can be
            broadcast to them; None lets all of them.

    Raises:
        ConfigError: on another norm, a negative radius or an empty range.
    """

    norm: Norm
    radius: float
    low: float = 0.0
    high: float = 1.0
    moving: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ConfigError(f"norm is '{self.norm}'; expected one of {', '.join(NORMS)}.")
        if not 0 <= self.radius < float("inf"):
            raise ConfigError(f"radius is {self.radius}; expected a finite number, at least 0.")
        if not self.low < self.high:
            raise ConfigError(f"low is {self.low} and high {self.high}; expected low < high.")

    def project(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return points of the ball around `rows`: cut to the radius, then to the range.

        For `linf` these are the nearest ones. Rows must lie in the range. What may not move is the
        row's own.
        """
        change = points - rows
        if self.moving is not None:
            change = torch.where(self.moving(rows), change, torch.zeros_like(change))
        if self.norm == "linf":
            change = change.clamp(-self.radius, self.radius)
        else:
            length = lengths(change)
            change = change * (self.radius / length.clamp(min=self.radius or 1.0))
        return (rows + change).clamp(self.low, self.high)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """Return the change of norm `size` along which a linear function rises fastest, (n, …).

        Zero where the gradient is zero.
        """
        if self.norm == "linf":
            return size * gradient.sign()
        length = lengths(gradient)
        return size * gradient / torch.where(length > 0, length, torch.ones_like(length))

    def distance(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return how far each point is from its row, (n,)."""
        change = (points - rows).flatten(1)
        order = torch.inf if self.norm == "linf" else 2
        distance: Tensor = torch.linalg.vector_norm(change, ord=order, dim=1)
        return distance

    def holds(self, points: Tensor, rows: Tensor, *, rounding: float = 1e-5) -> Tensor:
        """Return whether each point lies in the ball, bool (n,), up to rounding."""
        flat = points.flatten(1)
        inside = (flat >= self.low - rounding).all(1) & (flat <= self.high + rounding).all(1)
        if self.moving is not None:
            inside &= ((points == rows) | self.moving(rows)).flatten(1).all(1)
        return inside & (self.distance(points, rows) <= self.radius * (1 + rounding) + rounding)

    def draw(self, rows: Tensor, source: torch.Generator) -> Tensor:
        """Return random points, the same change for every row, cut to the range.

        Uniform in the ball before it is cut. One draw for all: what a row gets does not depend on
        which other rows are there.
        """
        shape = rows.shape[1:]
        if self.norm == "linf":
            change = (2 * torch.rand(shape, generator=source) - 1) * self.radius
        else:
            around = torch.randn(shape, generator=source)
            share = torch.rand((), generator=source) ** (1 / max(1, around.numel()))
            change = around / around.norm() * share * self.radius
        return self.project(rows + change.to(rows), rows)


def lengths(t: Tensor) -> Tensor:
    """Return each row's Euclidean length, shaped to multiply the rows: (n, 1, …)."""
    length: Tensor = torch.linalg.vector_norm(t.flatten(1), dim=1)
    return length.reshape(-1, *[1] * (t.ndim - 1))
