"""Distillation: the model learns what the dense model says instead of what the labels say."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from safecompress.defenses.options import require_factor, require_share
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.protocols import Batch, Defense, Rows, TrainingContext, map_inputs
from safecompress.randomness import permutation
from safecompress.train.predict import predict

On = Literal["members", "reference"]


class Distillation(Defense):
    """Train towards (1 − share) of the target and `share` of what the dense model says.

    On `members` the dense model answers the batch itself. On `reference` it answers rows that
    nobody trained on, and with a share of 1 the small model's weights never learn from a member:
    all they know of them went through the dense model's answers about others. Statistics that
    layers keep of their batches (BatchNorm) are still the members'.

    Args:
        share: of the loss that comes from the dense model, in [0, 1].
        temperature: both models' logits are divided by it, and the loss multiplied by its square.
        rows: `members` or `reference`; the latter needs `data.split.reference`.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Hinton, Vinyals & Dean, 2015; on reference rows alone, Shejwalkar & Houmansadr,
    "Membership Privacy for Machine Learning Models Through Knowledge Transfer", AAAI 2021.
    """

    name: ClassVar[str] = "distillation"
    needs_dense: ClassVar[bool] = True
    only_penalty: ClassVar[bool] = True

    def __init__(
        self, *, share: float = 1.0, temperature: float = 1.0, rows: On = "members"
    ) -> None:
        require_share("share", share)
        require_factor("temperature", temperature, zero=False)
        if rows not in {"members", "reference"}:
            raise ConfigError(f"rows is '{rows}'; expected members or reference.")
        self.share, self.temperature = share, temperature
        self.needs_reference = rows == "reference"
        self._context: TrainingContext | None = None
        self._dense: nn.Module | None = None
        self._reference: Rows | None = None
        self._said = torch.empty(0)

    def prepare_(self, context: TrainingContext) -> None:
        """Take the dense model, and ask it about the reference rows once.

        Raises:
            ConfigError: without a dense model, or without the reference rows it needs.
        """
        if context.dense is None:
            raise ConfigError(
                "distillation: learns from the dense model, and here is none; give it to "
                "steer.defenses, with dense training or weights."
            )
        self._context, self._dense = context, context.dense
        if not self.needs_reference:
            return
        if context.reference is None or not len(context.reference):
            raise ConfigError("distillation: rows is 'reference'; set data.split.reference.")
        own = context.reference
        self._said = predict(context.dense, own).logits.to(context.device)
        self._reference = Rows(
            map_inputs(lambda t: t.to(context.device), own.inputs),
            own.labels.to(context.device),
            own.ids.to(context.device),
        )

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return share × (distillation loss − cross-entropy to the target)."""
        if not self.share or batch.loss is None or self._dense is None:
            return None
        if self._reference is None:
            with torch.no_grad():
                told = call(self._dense, batch.inputs)
            said = batch.logits
        else:
            rows = self._drawn(len(batch.labels), batch.step)
            told = self._said.index_select(0, rows)
            said = call(batch.model, self._reference.take(rows).inputs)
        heat = self.temperature
        target = softmax(told.float() / heat, dim=1)
        return self.share * (heat**2 * cross_entropy(said.float() / heat, target) - batch.loss)

    def _drawn(self, n: int, step: int) -> Tensor:
        """Return up to n reference rows, a function of the run's seed and the step."""
        if self._context is None:
            raise ConfigError("distillation: prepare_ must be called before it is used.")
        order = permutation(len(self._said), self._context.seed, self.name, step)
        return order[:n].to(self._context.device)


DEFENSES.add(
    "distillation",
    Distillation,
    summary="learns what the dense model says, of members or of reference rows only",
    reference="Hinton et al., 2015; Shejwalkar & Houmansadr, AAAI 2021",
    cost="learns from the dense model, inherits its weights unless sparse.initialize is scratch; "
    "one more forward pass a batch",
)
