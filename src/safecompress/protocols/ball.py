"""`Ball`: the points near a row and inside the input range that an attacker may send instead."""

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

    Points and rows are float tensors (n, …) in the unit of the range; each point belongs to the row
    at the same position.

    Args:
        norm: `linf` (the largest change of any number) or `l2` (Euclidean length of the change).
        radius: in the unit of the range, at least 0.
        low, high: the input range.
        moving: maps rows (n, …) to a bool mask, broadcastable to their shape, of the numbers that
            may change; None allows all of them to.

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

        For `linf` these are the nearest points of the ball. Numbers that may not move are reset to
        the row's.

        Args:
            points: float (n, …), anywhere.
            rows: float (n, …), inside the range.
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

        Args:
            gradient: of that function at each row, float (n, …); a zero gradient gives no change.
            size: norm of the change, in the unit of the range.
        """
        if self.norm == "linf":
            return size * gradient.sign()
        length = lengths(gradient)
        return size * gradient / torch.where(length > 0, length, torch.ones_like(length))

    def distance(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return the distance of each point from its row in the ball's norm, (n,).

        Args:
            points: float (n, …).
            rows: float (n, …).
        """
        change = (points - rows).flatten(1)
        order = torch.inf if self.norm == "linf" else 2
        distance: Tensor = torch.linalg.vector_norm(change, ord=order, dim=1)
        return distance

    def holds(self, points: Tensor, rows: Tensor, *, rounding: float = 1e-5) -> Tensor:
        """Return whether each point lies in the ball, bool (n,).

        Args:
            points: float (n, …).
            rows: float (n, …).
            rounding: error tolerated at the range, and at the radius both absolutely and relative
                to it.
        """
        flat = points.flatten(1)
        inside = (flat >= self.low - rounding).all(1) & (flat <= self.high + rounding).all(1)
        if self.moving is not None:
            inside &= ((points == rows) | self.moving(rows)).flatten(1).all(1)
        return inside & (self.distance(points, rows) <= self.radius * (1 + rounding) + rounding)

    def draw(self, rows: Tensor, source: torch.Generator) -> Tensor:
        """Return random points of the ball, (n, …), all rows moved by the same change.

        The change is uniform in the ball before it is cut to the range. Because one draw serves all
        rows, a row's point does not depend on the other rows.

        Args:
            rows: float (n, …), inside the range.
            source: random generator on the CPU.
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
    """Return each row's Euclidean length, in a shape that broadcasts against the rows: (n, 1, …).

    Args:
        t: float (n, …).
    """
    length: Tensor = torch.linalg.vector_norm(t.flatten(1), dim=1)
    return length.reshape(-1, *[1] * (t.ndim - 1))
