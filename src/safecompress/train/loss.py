"""`TrainingLoss`: the loss to hard or soft labels plus the penalties of the defenses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from safecompress.candidate import HARD, SoftTarget
from safecompress.errors import ConfigError, PartError, blaming
from safecompress.models.adapt import call
from safecompress.protocols import Batch, Defense, ModelLike, TrainingContext, map_inputs
from safecompress.train.batches import Step
from safecompress.train.features import call_with_features
from safecompress.train.own_code import LossFunction
from safecompress.train.transfer_set import TransferSet


def require_together(defenses: Sequence[Defense]) -> None:
    """Raise ConfigError when these defenses cannot be combined.

    A defense that draws every row independently accounts for all changes of the gradient, so no
    other may be listed beside it.

    Args:
        defenses: all defenses of a stage.

    Raises:
        ConfigError: when a defense is listed twice, or beside one that draws rows independently.
    """
    names = [defense.name for defense in defenses]
    for defense in defenses:
        if names.count(defense.name) > 1:
            raise ConfigError(f"defenses: '{defense.name}' is listed twice.")
        if defense.samples_alone and len(names) > 1:
            others = ", ".join(name for name in names if name != defense.name)
            raise ConfigError(
                f"defenses: '{defense.name}' replaces every gradient and cannot account for "
                f"what else changes it; leave out {others}."
            )


def require_no_accounting(defenses: Iterable[Defense]) -> None:
    """Raise ConfigError when a defense cannot train on the rows of a transfer set.

    Args:
        defenses: all defenses of a stage that has a transfer set.

    Raises:
        ConfigError: when a defense accounts for every row of a batch.
    """
    for defense in defenses:
        if defense.samples_alone:
            raise ConfigError(
                f"teachers.transfer_set: the defense '{defense.name}' accounts for every row of a "
                "batch and cannot account for rows made of two members; leave out one of the two."
            )


def only_penalties(defenses: Iterable[Defense]) -> bool:
    """Return whether no defense reads weights, changes gradients or has a state.

    Args:
        defenses: all defenses of a stage.
    """
    return all(defense.only_penalty for defense in defenses)


class TrainingLoss:
    """Cross-entropy, or a loss of the user's own, and the penalties of defenses.

    Args:
        defenses: changes to the loss, in order; each is prepared for the stage.
        context: the stage's data and settings, from which defenses prepare themselves.
        soft_labels: float32 (rows trained on, classes), class probabilities; None without any.
        transfer: rows beside those trained on, whose target is always their soft label; needs
            `soft_labels`. None without any.
        loss: a function of the user's own instead of cross-entropy; None for that.

    Attributes:
        own: whether the loss is a function of the user's own.
        base: the loss without penalties, of logits (n, classes) and targets.

    Raises:
        ConfigError: when defenses cannot be combined, or one lacks its reference rows or the dense
            model.
    """

    def __init__(
        self,
        defenses: Sequence[Defense],
        context: TrainingContext,
        *,
        soft_labels: Tensor | None = None,
        transfer: TransferSet | None = None,
        loss: LossFunction | None = None,
    ) -> None:
        self.own = loss is not None
        self.base: LossFunction = loss or functional.cross_entropy
        self._defenses, self._steps = tuple(defenses), context.steps
        self._own = None if transfer is None else context.rows
        if soft_labels is not None and transfer is not None:
            soft_labels = torch.cat([soft_labels, transfer.soft_labels])
        self._soft_labels = None if soft_labels is None else soft_labels.to(context.device)
        self._soft_target = HARD
        self._masks: Mapping[str, Tensor] = {}
        self._tempered: dict[float, Tensor] = {}
        require_together(defenses)
        for defense in defenses:
            if defense.needs_reference and context.reference is None:
                raise ConfigError(
                    f"defenses: '{defense.name}' needs rows that are neither members nor "
                    "judged; set data.split.reference, for example to 0.2."
                )
            if defense.needs_dense and context.dense is None:
                raise ConfigError(
                    f"steer.defenses: '{defense.name}' needs the dense model, which this training "
                    "does not have; train one first (dense.epochs), or pass dense."
                )
            if defense.needs_soft_labels and context.soft_labels is None:
                raise ConfigError(
                    f"steer.defenses: '{defense.name}' needs the labels of teachers, which this "
                    "training does not have; pass soft_labels."
                )
        for defense in defenses:
            with _blaming(defense):
                defense.prepare_(context)

    def __call__(self, model: ModelLike, batch: Step, step: int) -> tuple[Tensor, Batch | None]:
        """Return one step's loss, and the batch that `before_step_` and `after_step_` take.

        Args:
            model: called with the batch's inputs.
            batch: the rows of the step.
            step: steps of the stage before this one, from 0.

        Returns:
            The loss, a scalar attached to the graph, and the batch; None without defenses.
        """
        features, inputs = None, batch.inputs
        if any(defense.needs_input_gradients for defense in self._defenses):
            inputs = map_inputs(_attachable, inputs)
        if any(defense.needs_features for defense in self._defenses):
            logits, features = call_with_features(model, inputs)
        else:
            logits = call(model, inputs)
        targets = self.targets(batch, self._soft_target)
        if targets.is_floating_point():
            targets = targets.to(logits.dtype)
        loss = self.base(logits, targets)
        if not self._defenses:
            return loss, None
        context = Batch(
            inputs=inputs,
            labels=batch.labels,
            ids=batch.ids,
            logits=logits,
            model=model,
            step=step,
            progress=min(1.0, step / max(1, self._steps)),
            features=features,
            loss=loss,
            masks=self._masks,
        )
        for defense in self._defenses:
            if (penalty := _penalty(defense, context)) is not None:
                loss = loss + penalty
        return loss, context

    @property
    def defended(self) -> bool:
        """Whether there is any defense."""
        return bool(self._defenses)

    @property
    def only_penalties(self) -> bool:
        """Whether no defense reads weights, changes gradients or has a state."""
        return only_penalties(self._defenses)

    def targets(self, batch: Step, target: SoftTarget) -> Tensor:
        """Return the targets of a batch.

        Args:
            batch: b rows.
            target: how much of the target comes from soft labels, and their temperature.

        Returns:
            Class indices, int64 (b,); class probabilities, float32 (b, classes), where part of the
            target is soft or there is a transfer set.

        Raises:
            ConfigError: when part of the target is soft and there are no soft labels.
        """
        if self._own is not None:
            return self._mixed(batch, target, own=self._own)
        if not target.share:
            return batch.labels
        targets = target.share * self._soft(target.temperature).index_select(0, batch.index)
        hard = torch.full_like(batch.labels, 1 - target.share, dtype=targets.dtype)
        return targets.scatter_add_(1, batch.labels.unsqueeze(1), hard.unsqueeze(1))

    def _mixed(self, batch: Step, target: SoftTarget, *, own: int) -> Tensor:
        """Return targets that are soft alone for rows of the transfer set, which have no other."""
        soft = self._soft(target.temperature).index_select(0, batch.index)
        share = torch.full_like(soft[:, :1], target.share)
        share = share.masked_fill((batch.index >= own).unsqueeze(1), 1.0)
        return (share * soft).scatter_add_(1, batch.labels.unsqueeze(1), 1 - share)

    def _soft(self, temperature: float) -> Tensor:
        """Return the soft labels at a temperature, computed once per temperature."""
        if self._soft_labels is None:
            raise ConfigError(
                "the candidate trains towards soft labels, but its trainer was given none; pass "
                "soft_labels."
            )
        if temperature not in self._tempered:
            powered = self._soft_labels.double() ** (1 / temperature)
            self._tempered[temperature] = (powered / powered.sum(1, keepdim=True)).float()
        return self._tempered[temperature]

    @property
    def samples_alone(self) -> bool:
        """Whether every row must be drawn into every batch independently."""
        return any(defense.samples_alone for defense in self._defenses)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Run a block inside the context managers that the defenses put around training."""
        with ExitStack() as stack:
            for defense in self._defenses:
                with _blaming(defense):
                    stack.enter_context(defense.training())
            yield

    def before_step_(self, batch: Batch | None) -> None:
        """Let the defenses act between the backward pass and the optimizer's step.

        Args:
            batch: as the loss returned it; None does nothing.
        """
        if batch is not None:
            for defense in self._defenses:
                with _blaming(defense):
                    defense.before_step_(batch)

    def after_step_(self, batch: Batch | None) -> None:
        """Let the defenses act after the optimizer's step.

        Args:
            batch: as the loss returned it; None does nothing.
        """
        if batch is not None:
            for defense in self._defenses:
                with _blaming(defense):
                    defense.after_step_(batch)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return per defense name copies of its state tensors, on the CPU."""
        return {
            defense.name: {
                key: value.detach().to("cpu", copy=True) for key, value in _state(defense).items()
            }
            for defense in self._defenses
        }

    def load_state_(
        self,
        state: Mapping[str, Mapping[str, Tensor]],
        *,
        masks: Mapping[str, Tensor],
        soft_target: SoftTarget = HARD,
    ) -> None:
        """Set the target and the masks, and load copies of every defense's state.

        Args:
            state: per defense name its tensors, as `state` returns them; a defense that is not
                named there starts with its initial state.
            masks: per maskable parameter bool of its shape, True where a weight exists.
            soft_target: how much of the target comes from soft labels.
        """
        self._soft_target, self._masks = soft_target, masks
        for defense in self._defenses:
            stored = state.get(defense.name, {})
            with _blaming(defense):
                defense.load_state_({key: torch.clone(value) for key, value in stored.items()})


def _blaming(defense: Defense) -> AbstractContextManager[None]:
    return blaming(defense, _who(defense))


def _who(defense: Defense) -> str:
    return f"the defense '{defense.name}'"


def _penalty(defense: Defense, batch: Batch) -> Tensor | None:
    """Return what a defense adds to the loss, once it is known to be a scalar or None."""
    with _blaming(defense):
        penalty = defense.penalty(batch)
    given: Any = penalty
    if given is None or (isinstance(given, Tensor) and not given.ndim):
        return penalty
    what = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    raise PartError(
        f"{_who(defense)} ({type(defense).__module__}) returned the penalty {what}; expected a "
        "scalar tensor or None."
    )


def _state(defense: Defense) -> dict[str, Tensor]:
    """Return a defense's state, once it is known to be tensors."""
    with _blaming(defense):
        state: Any = defense.state()
        items = dict(state)
    for key, value in items.items():
        if not isinstance(value, Tensor):
            raise PartError(
                f"{_who(defense)} ({type(defense).__module__}) keeps '{key}' in its state as "
                f"{type(value).__name__}; expected a tensor, as checkpoints hold nothing else."
            )
    return items


def _attachable(t: Tensor) -> Tensor:
    return t.detach().requires_grad_() if t.is_floating_point() else t
