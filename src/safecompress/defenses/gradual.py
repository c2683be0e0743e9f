"""`Gradual`: magnitude pruning in several cuts, between which the remaining weights train on.

Reference: Zhu & Gupta, "To Prune, or Not to Prune", 2017 (arXiv 1710.01878), equation 1.
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


class Gradual(Defense):
    """Cut the smallest weights at the end of each of K equal parts of the stage.

    After cut k the density is d + (1 − d)(1 − k/K)³, so most weights are cut early, while there is
    time for the others to adapt. A weight that was cut stays at zero until the end.

    Args:
        sparse: its density, distribution and section `gradual` are read.
        scope: whether the network has one budget of weights, or every layer its own.
    """

    name: ClassVar[str] = "gradual"

    def __init__(self, sparse: SparseConfig, *, scope: Scope = "global") -> None:
        self._scope = scope
        self._sparse, self._cuts = sparse, sparse.gradual.cuts
        self._steps = 0
        self._weights: dict[str, nn.Parameter] = {}
        self._kept: dict[str, Tensor] = {}
        self._device_masks: dict[str, Tensor] = {}

    def prepare_(self, context: TrainingContext) -> None:
        """Store the maskable weights and start without any cut.

        Args:
            context: its module is pruned, and its steps are divided into parts.

        Raises:
            ConfigError: without a module, or with fewer steps than cuts.
        """
        if context.module is None:
            raise ConfigError("gradual: looks at weights; the trainer gave no module.")
        if context.steps < self._cuts:
            raise ConfigError(
                f"sparse.gradual.cuts is {self._cuts}, but its training has only "
                f"{context.steps} steps; make fewer cuts or train longer."
            )
        self._steps, self._weights = context.steps, maskable_parameters(context.module)
        self._tables = embedding_tables(context.module)
        self.load_state_({})

    def density_after(self, cuts: int) -> float:
        """Return the share of weights that are left, in (0, 1].

        Args:
            cuts: number of cuts so far, from 0 to the configured number.
        """
        density = self._sparse.density
        return density + (1 - density) * (1 - cuts / self._cuts) ** 3

    @torch.no_grad()
    def after_step_(self, batch: Batch) -> None:
        """Cut where a part of the stage ends, and set cut weights back to zero.

        The optimizer's momentum would otherwise move cut weights away from zero.

        Args:
            batch: its step is read.
        """
        done = batch.step + 1
        cuts = done * self._cuts // self._steps
        if cuts != batch.step * self._cuts // self._steps:
            weights = {name: w.detach() for name, w in self._weights.items()}
            self._keep_(
                largest(
                    weights,
                    self._sparse,
                    scope=self._scope,
                    density=self.density_after(cuts),
                    tables=self._tables,
                ).masks
            )
        for name, weight in self._weights.items():
            weight.mul_(self._device_masks[name])

    def state(self) -> dict[str, Tensor]:
        """Return copies of the current masks."""
        return {f"{KEPT}.{name}": mask.clone() for name, mask in self._kept.items()}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Restore saved masks; with an empty mapping all weights exist.

        Args:
            state: what `state` returned, or an empty mapping.
        """
        self._keep_(
            {
                name: state[f"{KEPT}.{name}"] if state else torch.ones(w.shape, dtype=torch.bool)
                for name, w in self._weights.items()
            }
        )

    def _keep_(self, masks: Mapping[str, Tensor]) -> None:
        self._kept = dict(masks)
        self._device_masks = {n: mask.to(self._weights[n].device) for n, mask in masks.items()}
