"""Candidates in and out of the place where they are trained, with all that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from safecompress.candidate import Candidate
from safecompress.config import TrainConfig
from safecompress.topology import Topology, maskable_parameters
from safecompress.train.loss import TrainingLoss
from safecompress.train.optimizers import load_optimizer_state_, optimizer_state
from safecompress.train.scaler import Scaler
from safecompress.train.step import Pairs, average_pairs, averages_by_name
from safecompress.train.workbench import Workbench
from safecompress.transforms import Transforms

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Exchange:
    """Puts candidates where they are trained, and takes them out changed.

    Args:
        module: the live module.
        bench: puts weights into it.
        optimizer: moves them.
        config: which optimizer it is.
        scaler: of fp16.
        objective: the loss, whose defenses have a state of their own.
        fabric: the processes, which must return the same candidate.
        track: whether moving averages of gradients are kept.
    """

    module: nn.Module
    bench: Workbench
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    scaler: Scaler
    objective: TrainingLoss
    fabric: Fabric
    track: bool

    def fresh(self, topology: Topology) -> Candidate:
        """Return a candidate at step 0 with the module's weights as far as they exist."""
        self.bench.clear_()
        topology.apply_(self.module)
        self.scaler.load_({})
        self.objective.load_state_({}, masks=topology.masks)
        candidate = Candidate(
            weights={},
            optimizer={},
            topology=topology,
            ever_active={name: mask.clone() for name, mask in topology.masks.items()},
        )
        load_optimizer_state_(self.optimizer, self.config, self.bench.active(candidate), {})
        return self.collected(candidate, averages=self.averages(candidate), steps=0)

    def restore_(self, candidate: Candidate) -> None:
        """Put weights, optimizer state and defenses' state where they were."""
        self.bench.put_(candidate)
        active = self.bench.active(candidate)
        load_optimizer_state_(self.optimizer, self.config, active, candidate.optimizer)
        self.bench.forget_gradients_()
        self.scaler.load_(candidate.optimizer)
        self.objective.load_state_(
            candidate.defenses, masks=candidate.topology.masks, soft_target=candidate.soft_target
        )

    def averages(self, candidate: Candidate) -> Pairs:
        """Return copies of the candidate's moving averages; none where none are kept."""
        if not self.track:
            return []
        return average_pairs(maskable_parameters(self.module), candidate.moving_average)

    def collected(self, candidate: Candidate, *, averages: Pairs, steps: int) -> Candidate:
        """Return the candidate with everything training has changed in so many steps."""
        if self.fabric.world_size > 1:
            for buffer in self.module.buffers():
                buffer.copy_(self.fabric.broadcast(buffer.detach().clone(), src=0))
        active = self.bench.active(candidate)
        state = optimizer_state(self.optimizer, self.config, active)
        return candidate.evolve(
            weights=self.bench.weights(active),
            optimizer=state | self.scaler.state(),
            moving_average=averages_by_name(maskable_parameters(self.module), averages)
            if self.track
            else candidate.moving_average,
            defenses=self.objective.state() or candidate.defenses,
            transforms=self._seen(candidate.transforms),
            step=candidate.step + steps,
        )

    def _seen(self, transforms: Transforms) -> Transforms:
        """Return the transforms with the inputs' bounds as training has left them."""
        ranges = self.bench.ranges()
        if self.fabric.world_size > 1:
            ranges = {n: self.fabric.broadcast(t, src=0) for n, t in ranges.items()}
        return replace(transforms, ranges=ranges) if ranges else transforms
