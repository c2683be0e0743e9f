"""ADMM pruning: weights are drawn towards the largest of them before the others are taken away.

A mask cut into finished weights takes away what the others relied on. Here the weights W learn to
do without: a copy Z holds the largest alone, W is pulled towards Z while it trains, and what still
separates them adds up in the dual U, which pulls harder.

Reference: Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating Direction
Method of Multipliers", ECCV 2018, section 3; with the attacker's gain in the loss, Wang et al.,
"Against Membership Inference Attack: Pruning is All You Need", IJCAI 2021 (arXiv 2008.13578).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from safecompress.config import SparseConfig
from safecompress.defenses.support import KEPT, Scope, largest
from safecompress.errors import ConfigError
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.topology import maskable_parameters


class Admm(Defense):
    """Add Σ ρ/2 ‖W − Z + U‖² to the loss, and move Z and U at the end of each of K rounds.

    The W-step is ordinary training, whatever else is added to the loss. Then Z keeps the largest
    magnitudes of W + U, exactly the budget, equal ones settled by position; and U += W − Z. Where ρ
    grows, the dual is scaled down by as much, for it is measured in units of 1/ρ.

    Args:
        sparse: gives density, distribution and the section `admm`.
        scope: whether the network has one budget, or every layer its own.
    """

    name: ClassVar[str] = "admm"

    def __init__(self, sparse: SparseConfig, *, scope: Scope = "global") -> None:
        self._scope = scope
        self._sparse, self._config = sparse, sparse.admm
        self._context: TrainingContext | None = None
        self._weights: dict[str, nn.Parameter] = {}
        self._kept: dict[str, Tensor] = {}
        self._copies: dict[str, Tensor] = {}
        self._duals: dict[str, Tensor] = {}
        self._residuals = torch.empty(0)

    def prepare_(self, context: TrainingContext) -> None:
        """Take the weights as they are as the first W.

        Raises:
            ConfigError: without a module, or with fewer steps than rounds.
        """
        if context.module is None:
            raise ConfigError("admm: looks at weights; the trainer gave no module.")
        if context.steps < self._config.rounds:
            raise ConfigError(
                f"sparse.admm.rounds is {self._config.rounds}, but its training has only "
                f"{context.steps} steps; make fewer rounds or train longer."
            )
        self._context, self._weights = context, maskable_parameters(context.module)
        self._begin_()

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return Σ ρ/2 ‖W − Z + U‖², a scalar."""
        del batch
        pulls = [
            (w - self._copies[name] + self._duals[name]).square().sum()
            for name, w in self._weights.items()
        ]
        return 0.5 * self.rho * torch.stack(pulls).sum()

    def after_step_(self, batch: Batch) -> None:
        """Move Z, then U, where a round ends."""
        if batch.step + 1 == self._round_ends(self.rounds_done):
            self._next_round_()

    @property
    def rho(self) -> float:
        """How hard W is pulled in this round; the last stays where no round follows."""
        done = min(self.rounds_done, self._config.rounds - 1)
        return self._config.rho * self._config.growth**done

    @property
    def rounds_done(self) -> int:
        """Rounds that have ended."""
        return len(self._residuals)

    @property
    def residuals(self) -> Tensor:
        """The primal residual ‖W − Z‖ at the end of each round, float64 (rounds done,)."""
        return self._residuals.clone()

    def state(self) -> dict[str, Tensor]:
        """Return copies of Z, its support, U and the residuals so far."""
        groups = {KEPT: self._kept, "copy": self._copies, "dual": self._duals}
        saved = {f"{g}.{n}": t.clone() for g, tensors in groups.items() for n, t in tensors.items()}
        return saved | {"residuals": self._residuals.clone()}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned; an empty mapping begins with the weights as they are."""
        if not state:
            self._begin_()
            return
        here = {name: w.device for name, w in self._weights.items()}
        self._copies = {n: state[f"copy.{n}"].clone().to(device) for n, device in here.items()}
        self._duals = {n: state[f"dual.{n}"].clone().to(device) for n, device in here.items()}
        self._kept = {n: state[f"{KEPT}.{n}"].clone() for n in here}
        self._residuals = state["residuals"].clone()

    def _begin_(self) -> None:
        self._residuals = torch.empty(0, dtype=torch.float64)
        self._duals = {name: torch.zeros_like(w.detach()) for name, w in self._weights.items()}
        self._project_()

    def _round_ends(self, number: int) -> int:
        """Return after how many steps round `number` ends, counted from 0."""
        steps = 0 if self._context is None else self._context.steps
        return steps * (number + 1) // self._config.rounds

    @torch.no_grad()
    def _next_round_(self) -> None:
        rho = self.rho
        self._project_()
        apart = {name: w.detach() - self._copies[name] for name, w in self._weights.items()}
        squares = [d.double().square().sum() for d in apart.values()]
        residual = torch.stack(squares).sum().sqrt().reshape(1).cpu()
        self._residuals = torch.cat([self._residuals, residual])
        for name, distance in apart.items():
            self._duals[name].add_(distance).mul_(rho / self.rho)

    @torch.no_grad()
    def _project_(self) -> None:
        """Let Z be the nearest to W + U that keeps the budget."""
        wanted = {name: w.detach() + self._duals[name] for name, w in self._weights.items()}
        self._kept = dict(
            largest(wanted, self._sparse, scope=self._scope, density=self._sparse.density).masks
        )
        self._copies = {n: t * self._kept[n].to(t.device) for n, t in wanted.items()}
