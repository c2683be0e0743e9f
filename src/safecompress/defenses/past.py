"""`Past`: an L1 penalty whose weight, parameter by parameter, is what the loss gap depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.defenses.options import require_factor
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.protocols import Batch, Defense, Rows, TrainingContext, map_inputs
from safecompress.randomness import permutation


def sensitivities(gap: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the penalty weight of every parameter, whose mean in each tensor is 1.

    Args:
        gap: by parameter tensor the gradient of the loss gap between non-members and members.

    Returns:
        |gradient| / mean |gradient| of the tensor; 0 where the whole tensor has no gradient.
    """
    weights = {}
    for name, gradient in gap.items():
        size = gradient.abs()
        # Divided first by the largest, so that no sum overflows.
        size = size / size.max().clamp_min(torch.finfo(size.dtype).tiny)
        weights[name] = size / size.mean().clamp_min(torch.finfo(size.dtype).tiny)
    return weights


class Past(Defense):
    """Shrink the parameters that make the losses of members and of others differ.

    In every step the gradient of the gap between the losses of reference rows and of the batch says
    how much each parameter contributes to it. That is the parameter's privacy sensitivity; its
    absolute value, divided by its mean in the tensor, weights the parameter in an L1 penalty.

    Deviations from the publication: the sensitivity is divided by its mean in each parameter
    tensor, so a layer's weight and bias are normalized apart, and the penalty acts in the whole
    stage that the defense is given to; the publication tunes a trained model by it, which is what
    happens to the candidates of a pruned dense model (`steer.defenses`).

    Args:
        weight: factor of the penalty, at least 0; 0 changes nothing.

    Raises:
        ConfigError: when the weight is out of range.

    Reference: Hu, Zhang & Wei, "Defending Membership Inference Attacks via Privacy-aware Sparsity
    Tuning", arXiv 2410.06814, 2024, section 3.
    """

    name: ClassVar[str] = "past"

    def __init__(self, *, weight: float = 1e-5) -> None:
        require_factor("weight", weight)
        self.weight = weight
        self.needs_reference = True
        self._context: TrainingContext | None = None
        self._reference: Rows | None = None

    def prepare_(self, context: TrainingContext) -> None:
        """Store the module and the reference rows.

        Args:
            context: its module, reference rows, seed and device are read.

        Raises:
            ConfigError: without a module or without reference rows.
        """
        reference = context.reference
        if context.module is None or reference is None or not len(reference):
            raise ConfigError("past: needs rows that nobody trains on; set data.split.reference.")
        self._context = context
        self._reference = Rows(
            map_inputs(lambda t: t.to(context.device), reference.inputs),
            reference.labels.to(context.device),
            reference.ids.to(context.device),
        )

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return weight × the sum of sensitivity × |parameter|, a scalar.

        Args:
            batch: its loss, model and step are read.

        Returns:
            A scalar; None where the weight is 0.

        Raises:
            ConfigError: when `prepare_` was not called.
        """
        context, reference = self._context, self._reference
        if not self.weight or batch.loss is None:
            return None
        if context is None or context.module is None or reference is None:
            raise ConfigError("past: prepare_ must be called before it is used.")
        order = permutation(len(reference), context.seed, self.name, batch.step)
        rows = reference.take(order[: len(batch.labels)].to(context.device))
        # The reference rows pass first in evaluation mode, so that layers that keep statistics of
        # their batches do not record them.
        training = context.module.training
        context.module.eval()
        others = cross_entropy(call(batch.model, rows.inputs).float(), rows.labels)
        context.module.train(training)
        parameters = {n: p for n, p in context.module.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(
            others - batch.loss,
            list(parameters.values()),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        weights = sensitivities(dict(zip(parameters, gradients, strict=True)))
        parts = [(weights[name] * p.abs()).sum() for name, p in parameters.items()]
        return self.weight * torch.stack(parts).sum()


DEFENSES.add(
    "past",
    Past,
    summary="shrinks the parameters on which the gap between members' and others' loss depends",
    reference="Hu, Zhang & Wei, arXiv 2410.06814, 2024",
    cost="inherits dense weights; a pass over reference rows and another backward pass a batch",
)
