"""Models that note what they are asked, and rows in two groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def groups(
    x: Any, form: Callable[[Any], Any] = lambda x: x, inputs: Callable[[Any], Any] | None = None
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the halves of rows as members and non-members, with labels 0 and 1 in turns."""
    half, shaped = len(x) // 2, inputs or (lambda a: a)
    y = np.arange(half) % 2
    return (shaped(form(x[:half])), y), (shaped(form(x[half:])), y)


class Plain:
    """A callable that keeps every batch it is given."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, *rows: Tensor, **named: Tensor) -> Tensor:
        first = (rows or tuple(named.values()))[0]
        self.seen.append(first.clone())
        exact = first.double().flatten(1)
        return torch.stack([exact.sum(dim=1) / 7, exact[:, 0]], dim=1)


class Two(nn.Module):
    """A module of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.layer(first) + self.layer(second)


class Named(Two):
    """A module of one input by name."""

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        return self.layer(rows)


def seen_by(kind: str) -> Any:
    """Return a model of some kind, always with the same weights."""
    torch.manual_seed(0)
    makers: dict[str, Callable[[], Any]] = {
        "callable": Plain,
        "fp32": lambda: nn.Linear(5, 2),
        "fp64": lambda: nn.Linear(5, 2).double(),
        "bf16": lambda: nn.Linear(5, 2).bfloat16(),
        "embedding": lambda: nn.Sequential(nn.EmbeddingBag(200, 4), nn.Linear(4, 2)),
        "two inputs": Two,
        "named": Named,
    }
    return makers[kind]()
