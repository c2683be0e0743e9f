"""What training minimises: cross-entropy plus what the defences add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.protocols import Batch, Defense, ModelLike, TrainingContext
from safecompress.train.batches import Step


class TrainingLoss:
    """Cross-entropy and the penalties of defences.

    Args:
        defenses: changes to the loss, in order; each is prepared for the stage.
        context: what they prepare themselves with.

    Raises:
        ConfigError: when a defence is listed twice or lacks its reference rows.
    """

    def __init__(self, defenses: Sequence[Defense], context: TrainingContext) -> None:
        self._defenses, self._steps = tuple(defenses), context.steps
        names = [defense.name for defense in defenses]
        for defense in defenses:
            if names.count(defense.name) > 1:
                raise ConfigError(f"steer.defenses: '{defense.name}' is listed twice.")
            if defense.needs_reference and context.reference is None:
                raise ConfigError(
                    f"steer.defenses: '{defense.name}' needs rows that are neither members nor "
                    "judged; set data.split.reference, for example to 0.2."
                )
        for defense in defenses:
            defense.prepare_(context)

    def __call__(self, model: ModelLike, batch: Step, step: int) -> tuple[Tensor, Batch | None]:
        """Return one step's loss, a scalar, and what `after_step_` will show the defences."""
        logits = call(model, batch.inputs)
        loss = functional.cross_entropy(logits, batch.labels)
        if not self._defenses:
            return loss, None
        seen = Batch(
            inputs=batch.inputs,
            labels=batch.labels,
            ids=batch.ids,
            logits=logits,
            model=model,
            step=step,
            progress=min(1.0, step / max(1, self._steps)),
        )
        for defense in self._defenses:
            penalty = defense.penalty(seen)
            if penalty is not None:
                loss = loss + penalty
        return loss, seen

    def after_step_(self, seen: Batch | None) -> None:
        """Let the defences act after the optimiser's step."""
        if seen is not None:
            for defense in self._defenses:
                defense.after_step_(seen)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return per defence name copies of its tensors, on the CPU."""
        return {
            defense.name: {
                key: value.detach().to("cpu", copy=True) for key, value in defense.state().items()
            }
            for defense in self._defenses
        }

    def load_state_(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Give every defence copies of its tensors; one without any starts afresh."""
        for defense in self._defenses:
            stored = state.get(defense.name, {})
            defense.load_state_({key: torch.clone(value) for key, value in stored.items()})
