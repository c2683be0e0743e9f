"""`Exchange`: copies a candidate into module, optimizer and defenses, and back out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.topology import Topology, maskable_parameters
from safecompress.train.engine import Processes
from safecompress.train.optimizers import load_optimizer_state_, optimizer_state
from safecompress.train.stage import Stage
from safecompress.train.state import load_module_
from safecompress.train.step import Pairs, average_pairs, averages_by_name
from safecompress.train.workbench import Workbench
from safecompress.transforms import Transforms


@dataclass(frozen=True)
class Exchange:
    """Copies candidates to where they are trained, and returns them as training has changed them.

    Args:
        stage: the stage, with its module, its loss (whose defenses have a state of their own) and
            the gradient scaler.
        bench: copies weights into the module.
        optimizer: moves the weights.
        processes: the processes, all of which must return the same candidate.
        track: whether moving averages of gradients are kept.
    """

    stage: Stage
    bench: Workbench
    optimizer: torch.optim.Optimizer
    processes: Processes
    track: bool

    def fresh(self, topology: Topology, weights: Mapping[str, Tensor] | None) -> Candidate:
        """Return a candidate at step 0.

        Args:
            topology: which weights exist; the others are set to zero in the module.
            weights: a state_dict; None takes the module's weights as they are now.
        """
        self.bench.clear_()
        if weights is not None:
            load_module_(self.stage.module, weights)
        topology.apply_(self.stage.module)
        self.stage.scaler.load_({})
        self.stage.objective.load_state_({}, masks=topology.masks)
        candidate = Candidate(
            weights={},
            optimizer={},
            topology=topology,
            ever_active={name: mask.clone() for name, mask in topology.masks.items()},
        )
        load_optimizer_state_(self.optimizer, self.stage.config, self.bench.active(candidate), {})
        return self.collected(candidate, averages=self.averages(candidate), steps=0)

    def restore_(self, candidate: Candidate) -> None:
        """Copy a candidate's weights, optimizer state and defenses' state to where they are used.

        Args:
            candidate: a candidate of the stage's module.
        """
        self.bench.put_(candidate)
        active = self.bench.active(candidate)
        load_optimizer_state_(self.optimizer, self.stage.config, active, candidate.optimizer)
        self.bench.forget_gradients_()
        self.stage.scaler.load_(candidate.optimizer)
        self.stage.objective.load_state_(
            candidate.defenses, masks=candidate.topology.masks, soft_target=candidate.soft_target
        )

    def averages(self, candidate: Candidate) -> Pairs:
        """Return each maskable parameter with a copy of its moving average; empty where not kept.

        Args:
            candidate: a candidate of the stage's module.
        """
        if not self.track:
            return []
        return average_pairs(maskable_parameters(self.stage.module), candidate.moving_average)

    def collected(self, candidate: Candidate, *, averages: Pairs, steps: int) -> Candidate:
        """Return the candidate with everything that training has changed.

        Args:
            candidate: the candidate that `restore_` was given.
            averages: the parameters' moving averages; empty where not kept.
            steps: steps that were taken.
        """
        if self.processes.world_size > 1:
            # Each process updated its statistics of batches from its own share of the rows.
            for buffer in self.stage.module.buffers():
                buffer.copy_(self.processes.broadcast(buffer.detach().clone(), src=0))
        active = self.bench.active(candidate)
        state = optimizer_state(self.optimizer, self.stage.config, active)
        return candidate.evolve(
            weights=self.bench.weights(active),
            optimizer=state | self.stage.scaler.state(),
            moving_average=averages_by_name(maskable_parameters(self.stage.module), averages)
            if self.track
            else candidate.moving_average,
            defenses=self.stage.objective.state() or candidate.defenses,
            transforms=self._with_ranges(candidate.transforms),
            step=candidate.step + steps,
        )

    def _with_ranges(self, transforms: Transforms) -> Transforms:
        """Return the transforms with the ranges of inputs that training has measured."""
        ranges = self.bench.ranges()
        if self.processes.world_size > 1:
            ranges = {n: self.processes.broadcast(t, src=0) for n, t in ranges.items()}
        return replace(transforms, ranges=ranges) if ranges else transforms
