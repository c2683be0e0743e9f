"""`Defense`, `Batch`, `TrainingContext`, `Recipe`: the interface of defenses and of training."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from safecompress.protocols.rows import Inputs, Rows

ModelLike: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Batch:
    """One training step, as handed to a defense.

    Args:
        inputs: the batch's inputs, after augmentation; they require gradients where a defense needs
            input gradients.
        labels: int64 (b,).
        ids: int64 (b,).
        logits: float (b, classes), with the autograd graph.
        model: the callable in training.
        step: number of steps taken in this stage.
        progress: fraction of this stage's steps taken, in [0, 1].
        features: float (b, d), the input of the last weight layer, with the autograd graph; None
            unless a defense needs it.
        loss: the cross-entropy to the training target, hard or soft, a scalar with the autograd
            graph, before penalties are added to it.
        masks: per maskable parameter a bool tensor on the CPU, True where a weight exists.
    """

    inputs: Inputs
    labels: Tensor
    ids: Tensor
    logits: Tensor
    model: ModelLike
    step: int
    progress: float
    features: Tensor | None = None
    loss: Tensor | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingContext:
    """What a defense may use to prepare for a training stage.

    Args:
        classes: number of classes.
        steps: number of steps in this training stage.
        seed: the run's seed.
        reference: rows set aside for defenses, neither trained on nor used in an audit; None where
            there are none.
        device: where tensors live.
        module: the module that is trained, for defenses that read or change weights.
        validation: rows that training decisions are based on, neither trained on nor used in an
            audit; None where there are none.
        rows: number of rows trained on.
        batch_size: average number of rows in a step.
        stage: name of the stage.
        dense: the finished dense model, frozen, in evaluation mode; None before there is one.
        members: the rows trained on; None where a defense is asked without any.
        soft_labels: class probabilities of these rows by teachers that never saw them, float32
            (rows, classes); None without teachers.
    """

    classes: int
    steps: int
    seed: int
    reference: Rows | None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    module: nn.Module | None = None
    validation: Rows | None = None
    rows: int = 0
    batch_size: int = 0
    stage: str = ""
    dense: nn.Module | None = None
    members: Rows | None = None
    soft_labels: Tensor | None = None


class Defense(ABC):
    """A change to training that makes members harder to tell. All hooks do nothing by default.

    A defense may keep state during training; what must survive a checkpoint goes through `state`
    and `load_state_`, as tensors.
    """

    name: ClassVar[str]
    needs_reference: bool = False
    """Whether it uses `TrainingContext.reference`."""
    needs_dense: ClassVar[bool] = False
    """Whether it uses the finished dense model."""
    needs_soft_labels: ClassVar[bool] = False
    """Whether it uses what teachers that never saw the members say of them."""
    needs_input_gradients: ClassVar[bool] = False
    """Whether it differentiates the batch's logits with respect to its inputs."""
    needs_features: bool = False
    """Whether it reads `Batch.features`."""
    only_penalty: ClassVar[bool] = False
    """Whether the defense only overrides `penalty`, with a function of the logits and the step.
    It then never reads masked weights, so layers may leave them out of the computation."""
    samples_alone: ClassVar[bool] = False
    """Whether it needs Poisson sampling (each row enters each batch independently) and must be the
    only defense."""

    def prepare_(self, context: TrainingContext) -> None:
        """Prepare for a training stage, before `load_state_` and the first step.

        Args:
            context: what the defense may use.
        """
        del context

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return a scalar to add to the batch's loss, or None.

        Args:
            batch: the step's rows, logits and loss, with the autograd graph.
        """
        del batch
        return None

    def training(self) -> AbstractContextManager[None]:
        """Return a context manager that the stage is trained in, to change the forward pass."""
        return nullcontext()

    def before_step_(self, batch: Batch) -> None:
        """Run between the backward pass and the optimizer's step; gradients may be replaced.

        Args:
            batch: the step's rows and logits.
        """
        del batch

    def after_step_(self, batch: Batch) -> None:
        """Run after the optimizer's step.

        Args:
            batch: the step's rows and logits, from before the step.
        """
        del batch

    def state(self) -> dict[str, Tensor]:
        """Return copies of the tensors that a checkpoint must hold to resume training."""
        return {}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned, or begin anew.

        This is called at the beginning of every training, after `prepare_`, which runs once for
        all trainings of a trainer. So a state made in `prepare_` must be made here as well.

        Args:
            state: tensors by name; empty at a fresh start.
        """
        del state


Recipe: TypeAlias = Callable[[Rows, int], nn.Module]
"""`(rows, seed) -> trained model`: the whole training, with dense stage, compression, defenses."""
