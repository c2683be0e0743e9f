"""`EarlyStopping`: a stage ends with the weights that had the least loss on steering rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.train.predict import predict
from safecompress.train.state import load_module_, module_tensors

_WEIGHT, _MASK = "weight.", "mask."


class EarlyStopping(Defense):
    """Remember the weights with the least loss on steering non-members; end the stage with them.

    Training still runs to the end of the stage, because all candidates of a stage take the same
    number of steps; the weights are then those at which training would have stopped. When the mask
    changes, the remembered weights are discarded, because they belong to the old mask.

    Args:
        looks: how often the loss is measured in a stage, at equal distances; 0 changes nothing.

    Raises:
        ConfigError: when the number is below 0.

    Reference: as a defense, Song & Mittal, USENIX Security 2021, section 5.2.
    """

    name: ClassVar[str] = "early-stopping"

    def __init__(self, *, looks: int = 24) -> None:
        if looks < 0:
            raise ConfigError(f"looks is {looks}; expected at least 0.")
        self.looks = looks
        self._context: TrainingContext | None = None
        self._best: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}
        self._loss = float("inf")

    def prepare_(self, context: TrainingContext) -> None:
        """Store the module and the rows on which the loss is measured.

        Args:
            context: its module, steering rows (`validation`) and steps are read.

        Raises:
            ConfigError: without a module or without steering rows.
        """
        if context.module is None or context.validation is None or not len(context.validation):
            raise ConfigError("early-stopping: needs rows that steer; set data.split.steer.")
        self._context = context

    def after_step_(self, batch: Batch) -> None:
        """Measure the loss where it is due, and at the stage's end restore the best weights.

        Args:
            batch: its step and masks are read.
        """
        context = self._context
        if not self.looks or context is None or context.module is None:
            return
        if not _same(self._masks, batch.masks):
            self._best, self._loss = {}, float("inf")
        done = batch.step + 1
        due = done * self.looks // context.steps != batch.step * self.looks // context.steps
        if due and context.validation is not None:
            outputs = predict(context.module, context.validation)
            loss = float(cross_entropy(outputs.logits.double(), outputs.labels))
            if loss < self._loss:
                self._loss, self._best = loss, module_tensors(context.module)
                self._masks = dict(batch.masks)
        if done == context.steps and self._best:
            load_module_(context.module, self._best)

    def state(self) -> dict[str, Tensor]:
        """Return the best weights so far, their masks and their loss."""
        saved = {f"{_WEIGHT}{name}": t.clone() for name, t in self._best.items()}
        saved |= {f"{_MASK}{name}": t.clone() for name, t in self._masks.items()}
        return saved | {"loss": torch.tensor(self._loss, dtype=torch.float64)}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state; with an empty mapping no loss has been measured yet.

        Args:
            state: what `state` returned, or an empty mapping.
        """
        self._best = {k.removeprefix(_WEIGHT): t for k, t in state.items() if k.startswith(_WEIGHT)}
        self._masks = {k.removeprefix(_MASK): t for k, t in state.items() if k.startswith(_MASK)}
        self._loss = float(state["loss"]) if state else float("inf")


DEFENSES.add(
    "early-stopping",
    EarlyStopping,
    summary="a stage ends with the weights that had the least loss on steering rows",
    reference="Song & Mittal, USENIX Security 2021",
    cost="for a new dense model; given weights are past it; a look at the steering rows now and "
    "then",
)


def _same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(t, right[n]) for n, t in left.items())
