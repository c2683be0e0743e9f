"""`Stage`: what all steps of one stage of training share, whichever candidate they train.

Batches, augmentation and dropout are pure functions of (seed, stage, step), so every way of
training a candidate (alone, in a stack, or for its gradient only) computes the same loss at a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress import randomness
from safecompress.config import TrainConfig
from safecompress.models.plain import forget_computed_
from safecompress.protocols import Batch, ModelLike
from safecompress.train.batches import Batches, Step
from safecompress.train.loss import TrainingLoss
from safecompress.train.predict import mode
from safecompress.train.scaler import Scaler
from safecompress.train.schedule import learning_rate
from safecompress.train.state import require_finite, require_finite_losses
from safecompress.train.step import reseed_


@dataclass(frozen=True)
class Stage:
    """One stage of training on one device.

    Args:
        name: name of the stage, part of every derived seed and of every message.
        module: the live module.
        config: the learning rate's schedule.
        seed: the run's seed.
        rank: number of this process among those that train together, from 0.
        device: where the module is.
        memory_format: memory format of images.
        batches: the batches of the stage.
        objective: the loss, with the stage's defenses.
        scaler: the gradient scaler of fp16.
    """

    name: str
    module: nn.Module
    config: TrainConfig
    seed: int
    rank: int
    device: torch.device
    memory_format: torch.memory_format
    batches: Batches
    objective: TrainingLoss
    scaler: Scaler

    @contextmanager
    def training(self) -> Iterator[None]:
        """Run a block in training mode, with seeded generators and inside the defenses' blocks.

        Afterwards the module keeps no tensor that the block computed, so that it can be copied.
        """
        with (
            mode(self.module, training=True),
            randomness.seeded(self.seed, self.name),
            self.objective.training(),
        ):
            try:
                yield
            finally:
                forget_computed_(self.module)

    def batch(self, step: int) -> Step:
        """Return the batch of one step.

        Args:
            step: steps of the stage before this one, from 0.
        """
        return self.batches.at(step, memory_format=self.memory_format)

    def loss(self, step: int, model: ModelLike) -> tuple[Tensor, Batch | None]:
        """Seed the generators for one step and return its loss; call it inside `training`.

        Args:
            step: steps of the stage before this one, from 0.
            model: the live module, or a wrapper around it.

        Returns:
            The loss, a scalar attached to the graph, and the batch as the defenses receive it;
            None without defenses.
        """
        reseed_(self.device, self.seed, self.name, "step", step, self.rank)
        return self.objective(model, self.batch(step), step)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of one step.

        Args:
            step: steps of the stage before this one, from 0.
        """
        return learning_rate(self.config, step, total=self.batches.total_steps)

    def require_finite(self, losses: Tensor, first: int, *, weights: bool = True) -> None:
        """Raise NonFiniteError when a loss, or a tensor of the module, is NaN or infinite.

        Args:
            losses: float32 (steps,).
            first: step of the first of them.
            weights: whether the module's parameters and buffers are checked, too.
        """
        where = f"training ({self.name})"
        scaled = self.scaler.scale is not None
        require_finite_losses(losses, first, where=where, scaled=scaled)
        if weights:
            require_finite(self.module, where=f"{where}, by step {first + len(losses)}")
