"""`QueryTransfer`: crafts points by queries to a source that has no gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from safecompress.attacks.oracle import Oracle
from safecompress.attacks.transfer.aim import Aim
from safecompress.attacks.transfer.query_attack import QueryAttack, QueryTask
from safecompress.errors import ConfigError
from safecompress.protocols import Ball, Source, TransferAttack


@final
@dataclass(frozen=True)
class QueryTransfer(TransferAttack):
    """A query attack on the source, whose points are then used against another model.

    The search ends as soon as the source is fooled. Its points therefore lie just beyond the
    decision boundary and fool other models less often than those of a gradient attack.

    Args:
        attack: the query attack on the source; it must need no source of its own.
        budget: maximum number of queries to the source per row, at least 1.

    Raises:
        ConfigError: when the attack needs a source, or the budget is below 1.
    """

    name: ClassVar[str] = "by-questions"

    attack: QueryAttack
    budget: int = 1_000

    def __post_init__(self) -> None:
        if self.attack.needs_source:
            raise ConfigError(f"attack is {self.attack.name}, which needs a model with gradients.")
        if self.budget < 1:
            raise ConfigError(f"budget is {self.budget}; expected at least one question a row.")

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
        oracle = Oracle(_SourceModule(source, x.device), rows=len(x), budget=self.budget)
        task = QueryTask(oracle, x, Aim(labels, targets, self.attack.loss), ball)
        with torch.no_grad():
            self.attack.hunt_(task, source=None, seed=seed)
        return task.points


class _SourceModule(nn.Module):
    """A source as a module, which `Oracle` requires."""

    def __init__(self, source: Source, device: torch.device) -> None:
        super().__init__()
        self._source, self._device = source, device

    def forward(self, x: Tensor) -> Tensor:
        # This module has no parameters, so `predict` sends the rows on the CPU.
        return self._source(x.to(self._device))
