"""A change to training, and training as a whole."""

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
    """One training step as a defense sees it.

    Args:
        inputs: the batch's inputs, after augmentation; the logits are attached to them where a
            defense needs input gradients.
        labels: int64 (b,).
        ids: int64 (b,).
        logits: (b, classes), attached to the graph.
        model: the callable in training.
        step: steps taken in this stage.
        progress: share of this stage's steps taken, in [0, 1].
        features: (b, d), what the last weight layer is given, attached to the graph; None unless a
            defense needs it.
        loss: the cross-entropy to the training target, hard or soft, a scalar attached to the
            graph; what penalties are added to.
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
    """What a defense may prepare itself with.

    Args:
        classes: number of classes.
        steps: steps of this training stage.
        seed: the run's seed.
        reference: rows held out for defenses, never members, never judged; None without them.
        device: where tensors live.
        module: the live module that is trained, for defenses that look at weights.
        validation: rows that steer: never members, never judged; None without them.
        rows: number of rows trained on.
        batch_size: rows of one step, on average.
        stage: name of the stage.
        dense: the finished dense model, frozen, in evaluation mode; None before there is one.
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


class Defense(ABC):
    """A change to training that hides members. All hooks are no-ops unless overridden.

    A defense is a live object during training; what must survive a checkpoint goes through
    `state` and `load_state_`, as tensors.
    """

    name: ClassVar[str]
    needs_reference: bool = False
    needs_dense: ClassVar[bool] = False
    """Whether it asks the finished dense model."""
    needs_input_gradients: ClassVar[bool] = False
    """Whether it differentiates the batch's logits towards its inputs."""
    needs_features: bool = False
    """Whether it reads the batch's last features."""
    only_penalty: ClassVar[bool] = False
    """Whether it is nothing but a penalty on what the model says, a function of batch and step.
    Then nobody looks at weights that do not exist, and layers may compute without them."""
    samples_alone: ClassVar[bool] = False
    """Whether it needs every row drawn into every batch on its own (Poisson sampling), and no other
    defense beside it."""

    def prepare_(self, context: TrainingContext) -> None:
        """Get ready for a training stage."""
        del context

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return a scalar to add to the batch's loss, or None."""
        del batch
        return None

    def training(self) -> AbstractContextManager[None]:
        """Return what surrounds training, for a defense that changes the model's forward pass."""
        return nullcontext()

    def before_step_(self, batch: Batch) -> None:
        """Act between the backward pass and the optimizer's step: gradients may be replaced."""
        del batch

    def after_step_(self, batch: Batch) -> None:
        """Act after the optimizer's step."""
        del batch

    def state(self) -> dict[str, Tensor]:
        """Return copies of the tensors needed to go on later."""
        return {}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned; an empty mapping means a fresh start."""
        del state


Recipe: TypeAlias = Callable[[Rows, int], nn.Module]
"""`(rows, seed) -> trained model`: dense pre-training, compressor, defenses and all."""
