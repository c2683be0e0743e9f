"""`Admm`: ADMM pruning, which trains dense weights towards a mask before the others are cut.

Cutting finished weights removes weights that the remaining ones depend on. ADMM lets the weights W
adapt first: a copy Z keeps only the largest weights, W is pulled towards Z while it trains, and the
difference between them accumulates in the dual variable U, which strengthens the pull.

Reference: Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating Direction
Method of Multipliers", ECCV 2018, section 3; with an adversarial attacker in the loss, Wang et al.,
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
from safecompress.topology import embedding_tables, maskable_parameters


class Admm(Defense):
    """Add Σ ρ/2 ‖W − Z + U‖² to the loss, and update Z and U at the end of each of K rounds.

    Within a round W is trained as usual, whatever else is added to the loss. At its end Z becomes
    W + U with all but the largest magnitudes set to zero (exactly the budget stays; equal
    magnitudes are settled by position), and U += W − Z. Where ρ grows, U is divided by the same
    factor, because the scaled dual is measured in units of 1/ρ.

    Args:
        sparse: its density, distribution and section `admm` are read.
        scope: whether the network has one budget of weights, or every layer its own.
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
        """Start from the module's current weights as the first W.

        Args:
            context: its module is pruned, and its steps are divided into rounds.

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
        self._tables = embedding_tables(context.module)
        self._begin_()

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return Σ ρ/2 ‖W − Z + U‖² over all maskable weights, a scalar.

        Args:
            batch: not read; the penalty depends on the weights alone.
        """
        del batch
        pulls = [
            (w - self._copies[name] + self._duals[name]).square().sum()
            for name, w in self._weights.items()
        ]
        return 0.5 * self.rho * torch.stack(pulls).sum()

    def after_step_(self, batch: Batch) -> None:
        """Update Z and then U if this step ends a round.

        Args:
            batch: its step is read.
        """
        if batch.step + 1 == self._round_ends(self.rounds_done):
            self._next_round_()

    @property
    def rho(self) -> float:
        """The factor ρ of the current round; after the last round, that of the last round."""
        done = min(self.rounds_done, self._config.rounds - 1)
        return self._config.rho * self._config.growth**done

    @property
    def rounds_done(self) -> int:
        """Number of rounds that have ended."""
        return len(self._residuals)

    @property
    def residuals(self) -> Tensor:
        """The primal residual ‖W − Z‖ at the end of each round, float64 (rounds done,)."""
        return self._residuals.clone()

    def state(self) -> dict[str, Tensor]:
        """Return copies of Z, of the mask of its non-zero weights, of U and of the residuals."""
        groups = {KEPT: self._kept, "copy": self._copies, "dual": self._duals}
        saved = {f"{g}.{n}": t.clone() for g, tensors in groups.items() for n, t in tensors.items()}
        return saved | {"residuals": self._residuals.clone()}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state; an empty mapping starts from the module's current weights.

        Args:
            state: what `state` returned, or an empty mapping.
        """
        if not state:
            self._begin_()
            return
        devices = {name: w.device for name, w in self._weights.items()}
        self._copies = {n: state[f"copy.{n}"].clone().to(device) for n, device in devices.items()}
        self._duals = {n: state[f"dual.{n}"].clone().to(device) for n, device in devices.items()}
        self._kept = {n: state[f"{KEPT}.{n}"].clone() for n in devices}
        self._residuals = state["residuals"].clone()

    def _begin_(self) -> None:
        self._residuals = torch.empty(0, dtype=torch.float64)
        self._duals = {name: torch.zeros_like(w.detach()) for name, w in self._weights.items()}
        self._project_()

    def _round_ends(self, number: int) -> int:
        """Return the number of steps after which round `number`, counted from 0, ends."""
        steps = 0 if self._context is None else self._context.steps
        return steps * (number + 1) // self._config.rounds

    @torch.no_grad()
    def _next_round_(self) -> None:
        rho = self.rho
        self._project_()
        differences = {name: w.detach() - self._copies[name] for name, w in self._weights.items()}
        squares = [d.double().square().sum() for d in differences.values()]
        residual = torch.stack(squares).sum().sqrt().reshape(1).cpu()
        self._residuals = torch.cat([self._residuals, residual])
        for name, difference in differences.items():
            self._duals[name].add_(difference).mul_(rho / self.rho)

    @torch.no_grad()
    def _project_(self) -> None:
        """Set Z to the point nearest to W + U that has no more non-zero weights than the budget."""
        sums = {name: w.detach() + self._duals[name] for name, w in self._weights.items()}
        self._kept = dict(
            largest(
                sums,
                self._sparse,
                scope=self._scope,
                density=self._sparse.density,
                tables=self._tables,
            ).masks
        )
        self._copies = {n: t * self._kept[n].to(t.device) for n, t in sums.items()}
