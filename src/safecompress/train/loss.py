"""What training minimizes: cross-entropy to hard or soft labels, plus what the defenses add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from safecompress.candidate import HARD, SoftTarget
from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.protocols import Batch, Defense, ModelLike, TrainingContext, map_inputs
from safecompress.train.batches import Step
from safecompress.train.features import call_with_features


def require_together(defenses: Sequence[Defense]) -> None:
    """Raise ConfigError when one is listed twice, or beside one that stands alone."""
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


def only_penalties(defenses: Iterable[Defense]) -> bool:
    """Return whether no defense looks at weights, changes gradients or remembers anything."""
    return all(defense.only_penalty for defense in defenses)


class TrainingLoss:
    """Cross-entropy and the penalties of defenses.

    Args:
        defenses: changes to the loss, in order; each is prepared for the stage.
        context: what they prepare themselves with.
        soft_labels: float32 (rows trained on, classes), probabilities; None without any.

    Raises:
        ConfigError: when a defense is listed twice or lacks its reference rows.
    """

    def __init__(
        self,
        defenses: Sequence[Defense],
        context: TrainingContext,
        *,
        soft_labels: Tensor | None = None,
    ) -> None:
        self._defenses, self._steps = tuple(defenses), context.steps
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
        for defense in defenses:
            defense.prepare_(context)

    def __call__(self, model: ModelLike, batch: Step, step: int) -> tuple[Tensor, Batch | None]:
        """Return one step's loss, a scalar, and what `after_step_` will show the defenses."""
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
        loss = functional.cross_entropy(logits, targets)
        if not self._defenses:
            return loss, None
        seen = Batch(
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
            penalty = defense.penalty(seen)
            if penalty is not None:
                loss = loss + penalty
        return loss, seen

    @property
    def defended(self) -> bool:
        """Whether any defense adds to the loss."""
        return bool(self._defenses)

    @property
    def only_penalties(self) -> bool:
        """Whether no defense looks at weights, changes gradients or remembers anything."""
        return only_penalties(self._defenses)

    def targets(self, batch: Step, target: SoftTarget) -> Tensor:
        """Return class indices, or class probabilities where some of the target is soft."""
        if not target.share:
            return batch.labels
        targets = target.share * self._soft(target.temperature).index_select(0, batch.index)
        hard = torch.full_like(batch.labels, 1 - target.share, dtype=targets.dtype)
        return targets.scatter_add_(1, batch.labels.unsqueeze(1), hard.unsqueeze(1))

    def _soft(self, temperature: float) -> Tensor:
        """Return the soft labels at a temperature, made once."""
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
        """Whether every row has to be drawn into every batch on its own."""
        return any(defense.samples_alone for defense in self._defenses)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Run a block with what the defenses put around training."""
        with ExitStack() as stack:
            for defense in self._defenses:
                stack.enter_context(defense.training())
            yield

    def before_step_(self, seen: Batch | None) -> None:
        """Let the defenses act between the backward pass and the optimizer's step."""
        if seen is not None:
            for defense in self._defenses:
                defense.before_step_(seen)

    def after_step_(self, seen: Batch | None) -> None:
        """Let the defenses act after the optimizer's step."""
        if seen is not None:
            for defense in self._defenses:
                defense.after_step_(seen)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return per defense name copies of its tensors, on the CPU."""
        return {
            defense.name: {
                key: value.detach().to("cpu", copy=True) for key, value in defense.state().items()
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
        """Set the target and the masks, and give every defense copies of its tensors.

        A defense without any tensors starts afresh.
        """
        self._soft_target, self._masks = soft_target, masks
        for defense in self._defenses:
            stored = state.get(defense.name, {})
            defense.load_state_({key: torch.clone(value) for key, value in stored.items()})


def _attachable(t: Tensor) -> Tensor:
    return t.detach().requires_grad_() if t.is_floating_point() else t
