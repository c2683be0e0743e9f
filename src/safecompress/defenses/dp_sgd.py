"""`DpSgd` and `epsilon`: training with differential privacy, and the guarantee it gives.

Every row's gradient is clipped and noise is added to their sum, so that the model hardly depends on
whether any single row was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from safecompress.defenses.options import require_factor
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError, brief
from safecompress.models.adapt import call
from safecompress.protocols import Batch, Defense, Inputs, TrainingContext, map_inputs
from safecompress.randomness import generator

FEWEST_ROWS = 32
"""Smallest batch size: smaller batches, drawn row by row, would too often be empty."""

Spent: TypeAlias = tuple[float, float, int]
"""What one stage costs in privacy: noise multiplier, share of the rows drawn in a step, steps."""

_INSTALL = "pip install 'safecompress[dp]'"
_AT_ONCE = 64
"""Number of rows whose gradients are in memory at the same time."""


class DpSgd(Defense):
    """Replace the gradient by the noisy mean of clipped gradients of single rows.

    Each row is drawn into each batch independently (Poisson sampling), as the accountant assumes.
    The noise is generated from the run's seed and can be subtracted with it: keep the seed secret.

    Args:
        noise: standard deviation of the noise as a multiple of `clip`, at least 0.
        clip: largest Euclidean norm of a row's gradient, above 0; longer ones are scaled down.
        delta: probability with which the guarantee may fail, in (0, 1).

    Raises:
        ConfigError: when an option is out of range.

    Reference: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1;
    the guarantee by the Rényi accountant of Opacus (arXiv 2109.12298).
    """

    name: ClassVar[str] = "dp-sgd"
    samples_alone: ClassVar[bool] = True

    def __init__(self, *, noise: float = 1.0, clip: float = 1.0, delta: float = 1e-5) -> None:
        require_factor("noise", noise)
        require_factor("clip", clip, zero=False)
        if not 0 < delta < 1:
            raise ConfigError(f"delta is {delta}; expected a probability in (0, 1).")
        self.noise, self.clip, self.delta = noise, clip, delta
        self._context: TrainingContext | None = None

    def prepare_(self, context: TrainingContext) -> None:
        """Refuse models without gradients of single rows, and batches that are too small.

        Args:
            context: its module, batch size, seed and stage are read.

        Raises:
            ConfigError: on batch normalization, or a batch size below `FEWEST_ROWS`.
        """
        modules = [] if context.module is None else list(context.module.modules())
        normalized = [m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if normalized:
            raise ConfigError(
                f"dp-sgd: the model has {type(normalized[0]).__name__}, which mixes the rows of a "
                "batch; use group or layer normalization."
            )
        if context.batch_size < FEWEST_ROWS:
            raise ConfigError(
                f"dp-sgd: batch_size is {context.batch_size}; expected at least {FEWEST_ROWS}."
            )
        self._context = context

    def before_step_(self, batch: Batch) -> None:
        """Replace every parameter's gradient by the noisy mean of the rows' clipped gradients.

        Args:
            batch: its inputs, labels, masks and step are read.

        Raises:
            ConfigError: before `prepare_`, or when the model's code decides something by the values
                in a row.
        """
        if self._context is None or self._context.module is None:
            raise ConfigError("dp-sgd: prepare_ must be called before it is used.")
        module = self._context.module
        learned = {n: p for n, p in module.named_parameters() if p.requires_grad}
        masks = {n: mask for n, mask in batch.masks.items() if not bool(mask.all())}
        exists = {n: masks[n].to(p.device) for n, p in learned.items() if n in masks}
        total = self._clipped_sum(module, learned, exists, batch)
        draw = generator(self._context.seed, self.name, self._context.stage, batch.step)
        for name, parameter in learned.items():
            normal = torch.randn(parameter.shape, generator=draw).to(parameter.device)
            noisy = total[name] + self.noise * self.clip * normal
            # Divide by the expected batch size: the true one depends on the rows, so it is private.
            parameter.grad = (noisy / self._context.batch_size).to(parameter.dtype)

    def _clipped_sum(
        self,
        module: nn.Module,
        learned: Mapping[str, Tensor],
        exists: Mapping[str, Tensor],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Return per parameter the sum of the rows' gradients, each of norm at most `clip`.

        The norm of a row's gradient is taken over the weights that exist.
        """
        fixed = {n: t.detach() for n, t in module.named_buffers()}
        weights = {n: p.detach() for n, p in learned.items()}

        def loss(weights: Mapping[str, Tensor], inputs: Inputs, label: Tensor) -> Tensor:
            def model(*args: Tensor, **named: Tensor) -> object:
                return functional_call(module, {**weights, **fixed}, args, named)

            row = map_inputs(lambda t: t.unsqueeze(0), inputs)
            return cross_entropy(call(model, row), label.unsqueeze(0))

        by_row = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")
        total = {n: torch.zeros_like(w) for n, w in weights.items()}
        for start in range(0, len(batch.labels), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            inputs = map_inputs(lambda t, at=part: t[at], batch.inputs)  # type: ignore[misc]
            try:
                rows = by_row(weights, inputs, batch.labels[part])
            except RuntimeError as error:
                if "vmap" not in str(error):
                    raise
                raise ConfigError(
                    "dp-sgd: the gradients of single rows cannot be taken, because the model's "
                    "code decides something by the values in a row, as text models of "
                    "transformers do; compress it without dp-sgd, or change that code "
                    f"({brief(error)})."
                ) from error
            for name, mask in exists.items():
                rows[name] = rows[name] * mask
            squares = [g.flatten(1).square().sum(1) for g in rows.values()]
            lengths = torch.stack(squares).sum(0).sqrt()
            factor = (self.clip / lengths.clamp(min=1e-12)).clamp(max=1.0)
            for name, gradient in rows.items():
                total[name] += torch.einsum("n,n...->...", factor, gradient)
        return total


DEFENSES.add(
    "dp-sgd",
    DpSgd,
    summary="clips every row's gradient and adds noise; ε in the verdict; needs the extra `dp`",
    reference="Abadi et al., CCS 2016; accountant of Opacus",
    cost="trains anew, also the dense model: given weights void its guarantee; a gradient a row",
)


def epsilon(spent: Sequence[Spent], *, delta: float) -> float:
    """Return ε of the steps taken, by the Rényi accountant of Opacus; smaller is more private.

    Args:
        spent: per stage, in order, the noise multiplier, the share of the rows drawn in a step, and
            the number of steps.
        delta: probability with which the guarantee may fail, in (0, 1).

    Returns:
        ε of all stages together: infinite where steps were taken without noise, 0 without steps.

    Raises:
        ConfigError: where Opacus is not installed.
    """
    if any(not noise for noise, _, steps in spent if steps):
        return float("inf")
    try:
        from opacus.accountants import RDPAccountant
    except ImportError as error:
        raise ConfigError(f"dp-sgd: opacus is not installed; {_INSTALL}.") from error
    accountant = RDPAccountant()
    accountant.history = [stage for stage in spent if stage[2]]
    return float(accountant.get_epsilon(delta)) if accountant.history else 0.0
