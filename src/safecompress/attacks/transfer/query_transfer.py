"""Points found by questions to the model in hand, for models that give no gradients."""

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
    """A query attack on the source itself, whose points are then sent elsewhere.

    A search ends where the source is fooled, so its points lie hardly beyond the border and fool
    other models less often than those of a gradient attack.

    Args:
        attack: how the source is searched; one that needs no guide.
        budget: most questions to the source about a row.

    Raises:
        ConfigError: when the attack needs a guide, or the budget is below 1.
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
        hunt = QueryTask(oracle, x, Aim(labels, targets, self.attack.loss), ball)
        with torch.no_grad():
            self.attack.hunt_(hunt, source=None, seed=seed)
        return hunt.points


class _SourceModule(nn.Module):
    """A source as the module that an oracle asks."""

    def __init__(self, source: Source, device: torch.device) -> None:
        super().__init__()
        self._source, self._device = source, device

    def forward(self, x: Tensor) -> Tensor:
        # Who asks sees no parameters here, and takes the source to be on the CPU.
        return self._source(x.to(self._device))
