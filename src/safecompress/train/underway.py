"""`Underway`: a candidate that a trainer has loaded and is taking further, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.protocols import Batch
from safecompress.train.active import Active, ActiveWeights, sparse_parts
from safecompress.train.exchange import Exchange
from safecompress.train.optimizers import set_rate_
from safecompress.train.sparse_layers import (
    SparseLayers,
    computing_sparsely,
    without_own_gradient,
)
from safecompress.train.stage import Stage
from safecompress.train.step import Pairs, update_averages_
from safecompress.train.workbench import Workbench


@dataclass(eq=False)
class Underway:
    """A candidate between the steps of its training; the module holds its weights.

    A step is `loss_`, a backward pass, `before_`, the optimizer's step and `after_`, in this order.
    Whoever takes the steps makes the backward pass and moves the weights, so that candidates of
    several trainers can share both.

    Args:
        stage: the stage.
        bench: has copied the candidate into the module.
        exchange: has loaded the optimizer, and collects the candidate at the end.
        optimizer: moves the weights, or lends its state to an optimizer that does.
        model: the live module, or a wrapper around it.
        candidate: as it was when this training began.
        active: what the optimizer moves, per parameter name.
        averages: moving averages of dense gradients; empty where not kept.
        sparsely: the layers that compute with their existing weights alone.
        losses: float32 (steps,), filled step by step.
    """

    stage: Stage
    bench: Workbench
    exchange: Exchange
    optimizer: torch.optim.Optimizer
    model: nn.Module
    candidate: Candidate
    active: Active
    averages: Pairs
    sparsely: SparseLayers
    losses: Tensor
    _gathered: Sequence[ActiveWeights] = field(init=False)
    _batch: Batch | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._gathered = without_own_gradient(self.active, self.sparsely)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Run a block in which steps may be taken.

        The module then computes as in training. At the end it holds every weight again.
        """
        with self.stage.training(), computing_sparsely(self.sparsely):
            yield
            # The others were written after every step. Once more would undo what a defense has
            # put into the module since, such as the weights that served unseen rows best.
            written = {id(part) for part in self._gathered}
            for part in sparse_parts(self.active):
                if id(part) not in written:
                    part.write_()

    @property
    def moved(self) -> list[nn.Parameter]:
        """What the optimizer moves, in its order."""
        parts = self.active.values()
        return [part.values if isinstance(part, ActiveWeights) else part for part in parts]

    def learning_rate(self, index: int) -> float:
        """Return the learning rate of one step.

        Args:
            index: steps taken before this one since the training began.
        """
        return self.stage.learning_rate(self.candidate.step + index)

    def loss_(self, index: int) -> Tensor:
        """Return the loss of one step, a scalar attached to the graph, and note it.

        Args:
            index: steps taken before this one since the training began.
        """
        set_rate_(self.optimizer, self.learning_rate(index))
        with self.bench.watched():
            step = self.candidate.step + index
            loss, self._batch = self.stage.loss(step, self.model)
        self.losses[index] = loss.detach()
        return loss

    def before_(self) -> None:
        """Do what belongs between the backward pass and the optimizer's step."""
        self.stage.objective.before_step_(self._batch)
        if self.averages:
            update_averages_(self.averages, scale=self.stage.scaler.scale)
        for part in self._gathered:
            part.read_gradient_()

    def after_(self) -> None:
        """Do what belongs after the optimizer's step."""
        # A layer that computes with the existing weights alone never reads its whole parameter.
        for part in self._gathered:
            part.write_()
        for part in sparse_parts(self.active):
            part.values.grad = None
        self.bench.forget_gradients_()
        self.stage.objective.after_step_(self._batch)

    def collected(self) -> Candidate:
        """Return the candidate after all steps.

        Raises:
            NonFiniteError: when the loss or a weight became NaN or infinite; names the step.
        """
        self.stage.require_finite(self.losses, self.candidate.step)
        return self.exchange.collected(
            self.candidate, averages=self.averages, steps=len(self.losses)
        )
