"""`Distillation`: the model learns the dense model's outputs instead of the labels."""

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
    """Train towards (1 − share) of the target and `share` of the dense model's probabilities.

    With `members`, the dense model's outputs for the batch itself are learned. With `reference`,
    its outputs for reference rows are learned, which are no members. With a share of 1 the small
    model's weights then never learn from a member: all that they contain of members has passed
    through the dense model's outputs for other rows. Layers that keep statistics of their batches
    (BatchNorm) still record the members.

    Args:
        share: share of the loss that comes from the dense model, in [0, 1].
        temperature: above 0; both models' logits are divided by it, and the loss is multiplied by
            its square.
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
        self._reference_logits = torch.empty(0)

    def prepare_(self, context: TrainingContext) -> None:
        """Store the dense model and, where they are learned, its outputs for the reference rows.

        Args:
            context: its dense model, reference rows, seed and device are read.

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
        reference = context.reference
        self._reference_logits = predict(context.dense, reference).logits.to(context.device)
        self._reference = Rows(
            map_inputs(lambda t: t.to(context.device), reference.inputs),
            reference.labels.to(context.device),
            reference.ids.to(context.device),
        )

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return share × (distillation loss − cross-entropy to the target), a scalar.

        Args:
            batch: its loss is read; with `members` its inputs and logits, with `reference` its
                model and its step.

        Returns:
            A scalar; None where the share is 0.
        """
        if not self.share or batch.loss is None or self._dense is None:
            return None
        if self._reference is None:
            with torch.no_grad():
                teacher_logits = call(self._dense, batch.inputs)
            logits = batch.logits
        else:
            rows = self._reference_positions(len(batch.labels), batch.step)
            teacher_logits = self._reference_logits.index_select(0, rows)
            logits = call(batch.model, self._reference.take(rows).inputs)
        heat = self.temperature
        target = softmax(teacher_logits.float() / heat, dim=1)
        return self.share * (heat**2 * cross_entropy(logits.float() / heat, target) - batch.loss)

    def _reference_positions(self, n: int, step: int) -> Tensor:
        """Return the positions of up to n reference rows, fixed by the run's seed and the step."""
        if self._context is None:
            raise ConfigError("distillation: prepare_ must be called before it is used.")
        order = permutation(len(self._reference_logits), self._context.seed, self.name, step)
        return order[:n].to(self._context.device)


DEFENSES.add(
    "distillation",
    Distillation,
    summary="learns what the dense model says, of members or of reference rows only",
    reference="Hinton et al., 2015; Shejwalkar & Houmansadr, AAAI 2021",
    cost="learns from the dense model, inherits its weights unless sparse.initialize is scratch; "
    "one more forward pass a batch",
)
