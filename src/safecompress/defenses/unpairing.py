"""`Unpairing`: training that makes a small model's input gradients differ from its parent's.

An attacker with the small model can craft inputs on it and send them to the large model. They fool
the large model as far as the losses of both rise in the same directions. Unpairing therefore
reduces the cosine between both input gradients, while the small model keeps its outputs.

The cosine of the gradients as they are can be made small by adding a large gradient of high
frequency, under which the shared one remains for everybody who blurs. So the cosines of blurred
gradients, and of those at noisy points, are reduced as well.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from safecompress.attacks.transfer import Aim, blurred, input_gradient, is_image
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.models.adapt import adapt, call
from safecompress.proposals import UNPAIRING
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.randomness import generator
from safecompress.train.predict import evaluating, full_precision
from safecompress.transforms import input_quantizers, ranges_of

BLURS = (0.8, 1.5)
"""Standard deviations in pixels of the blurs under which gradients are compared."""
NOISE = 0.2
"""Standard deviation of the noise at whose points gradients are compared, as a fraction of that of
the inputs, where they cannot be blurred."""

_WEIGHT = "weight"
_START, _RANGE = "start.", "range."
_SMALL = 1e-12


class Unpairing(Defense):
    """Add alpha × KL(f ‖ f') + weight × mean |cos(∇x CE(F), ∇x CE(f'))| to the loss.

    The mean is over rows and over views of the gradients: as they are, blurred by each of `blurs`
    where inputs are images, and with `noise` all of these once more at noisy points, where f'
    answers as it will when it is published, in evaluation mode. f' is the model in training, F is
    the dense model, whose gradient is a constant, and f is f' as it was at the first step with a
    weight above 0. The model's mask and optimizer do not change: the trainer keeps them.

    Args:
        weight: λ, at least 0; 0 adds nothing. A proposal may set another one for its candidate.
        alpha: factor of the term that keeps the outputs the model had before, at least 0.
        blurs: standard deviations in pixels of the blurs under which images' gradients are compared
            as well, each above 0.
        noise: standard deviation of the noise at whose points gradients are compared as well, at
            least 0, as a fraction of the standard deviation of the batch's inputs; 0 compares at
            the rows alone, which takes about half the time. None is 0 for images, for which blurs
            show the low frequencies, and 0.2 for all other inputs, which cannot be blurred.

    Raises:
        ConfigError: on a negative or infinite number.

    Reference: after Hong, Carlini & Kurakin, SaTML 2023 (arXiv 2212.13700), with another loss.
    """

    name: ClassVar[str] = UNPAIRING
    needs_dense: ClassVar[bool] = True
    needs_input_gradients: ClassVar[bool] = True

    def __init__(
        self,
        *,
        weight: float = 1.0,
        alpha: float = 1.0,
        blurs: Sequence[float] = BLURS,
        noise: float | None = None,
    ) -> None:
        for option, value in (("weight", weight), ("alpha", alpha), ("noise", noise or 0.0)):
            if not 0 <= value < float("inf"):
                raise ConfigError(f"{option} is {value}; expected a finite number, at least 0.")
        if not all(0 < sigma < float("inf") for sigma in blurs):
            raise ConfigError(
                f"blurs is {list(blurs)}; expected finite numbers of pixels, above 0."
            )
        self.weight, self.alpha, self.blurs, self.noise = weight, alpha, tuple(blurs), noise
        self._current = weight
        self._dense: nn.Module | None = None
        self._seed = 0
        self._before: dict[str, Tensor] = {}
        self._ranges: dict[str, Tensor] = {}
        self._teacher: nn.Module | None = None

    def prepare_(self, context: TrainingContext) -> None:
        """Copy the dense model, frozen.

        Args:
            context: its dense model is read.

        Raises:
            ConfigError: without a dense model.
        """
        if context.dense is None:
            raise ConfigError(f"{self.name}: needs the dense model.")
        self._dense = copy.deepcopy(context.dense).requires_grad_(False).eval()
        self._seed = context.seed
        self.load_state_({})

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return the sum of both terms, a scalar; None while the weight is 0.

        Args:
            batch: its inputs, to which the logits are attached, its labels, logits and model are
                read.

        Raises:
            ConfigError: where inputs are not one tensor of real numbers, or before `prepare_`.
        """
        if not self._current:
            return None
        if not isinstance(batch.inputs, Tensor) or not batch.inputs.is_floating_point():
            raise ConfigError(
                f"{self.name}: needs inputs that are one tensor of real numbers; words have no "
                "gradient."
            )
        cosine = self.cosines(batch).abs().mean()
        if not self.alpha:
            return self._current * cosine
        logs = log_softmax(batch.logits.float(), dim=1)
        logs_before = log_softmax(self._logits_before(batch).float(), dim=1)
        stay = kl_div(logs, logs_before, log_target=True, reduction="batchmean")
        return self.alpha * stay + self._current * cosine

    def cosines(self, batch: Batch) -> Tensor:
        """Return the cosine between both models' input gradients in every view, (views, b).

        The first view is the gradients as they are; values lie in [-1, 1]. Gradients flow to the
        model in training and not to the dense one.

        Args:
            batch: its inputs, one tensor to which the logits are attached, labels, logits and model
                are read.

        Raises:
            ConfigError: before `prepare_`, or where inputs are not one tensor.
        """
        if self._dense is None or not isinstance(batch.inputs, Tensor):
            raise ConfigError(f"{self.name}: prepare_ must be called before the defense is used.")
        views = self._views(batch.inputs, batch.logits, batch)
        noise = self.noise
        if noise is None:
            noise = 0.0 if is_image(batch.inputs) else NOISE
        if noise:
            around = self._around(batch.inputs, step=batch.step)
            points = (batch.inputs.detach() + noise * around).requires_grad_()
            with evaluating(batch.model):
                logits = call(batch.model, points)
            views += self._views(points, logits, batch)
        return torch.stack(views)

    def _around(self, inputs: Tensor, *, step: int) -> Tensor:
        """Return a step's noise for a `noise` of 1, (b, …), fixed by the seed and the step."""
        draw = generator(self._seed, self.name, "noise", step)
        drawn = torch.randn(inputs.shape, generator=draw).to(inputs)
        return inputs.detach().std() * drawn

    def _views(self, points: Tensor, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Return the cosines at points to which logits are attached, (b,) for each view."""
        dense = self._dense
        if dense is None:
            raise ConfigError(f"{self.name}: prepare_ must be called before the defense is used.")
        with full_precision(points.device):
            theirs = input_gradient(lambda x: adapt(dense(x)), points.detach(), Aim(batch.labels))
        loss = cross_entropy(logits.float(), batch.labels, reduction="sum")
        (ours,) = torch.autograd.grad(loss, points, create_graph=True)
        sigmas = (0.0, *self.blurs) if is_image(points) else (0.0,)
        return [_cosines(blurred(ours, sigma), blurred(theirs, sigma)) for sigma in sigmas]

    def _logits_before(self, batch: Batch) -> Tensor:
        """Return the logits of the model as it was when unpairing began."""
        if self._teacher is None:
            live = getattr(batch.model, "module", batch.model)
            if not isinstance(live, nn.Module) or not isinstance(batch.inputs, Tensor):
                raise ConfigError(f"{self.name}: needs a model that is a torch.nn.Module.")
            with torch.no_grad():
                teacher = copy.deepcopy(live)
            quantizers = input_quantizers(teacher)
            if self._before:
                teacher.load_state_dict(self._before)
                for name, quantizer in quantizers.items():
                    quantizer.bounds = self._ranges.get(name)
            else:
                self._ranges = ranges_of(quantizers)
            self._before = {k: v.detach().clone() for k, v in teacher.state_dict().items()}
            self._teacher = teacher.requires_grad_(False).eval()
        with torch.no_grad():
            return adapt(self._teacher(batch.inputs))

    def state(self) -> dict[str, Tensor]:
        """Return the weight, and the model's state when unpairing began."""
        kept = {_START + name: value.clone() for name, value in self._before.items()}
        kept |= {_RANGE + name: bounds.clone() for name, bounds in self._ranges.items()}
        return {_WEIGHT: torch.tensor([self._current]), **kept}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state, or set the weight alone, as a proposal does.

        Args:
            state: what `state` returned, a mapping with `weight` alone, or an empty mapping, which
                gives the configured weight. Without a saved model the next step starts anew.
        """
        self._current = float(state[_WEIGHT]) if _WEIGHT in state else self.weight
        self._before, self._ranges = (
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            for prefix in (_START, _RANGE)
        )
        self._teacher = None


DEFENSES.add(
    "unpairing",
    Unpairing,
    summary="pulls the model's input gradients apart from the dense one's",
    reference="after Hong, Carlini & Kurakin, SaTML 2023",
    cost="inherits dense weights; the dense model's gradient and a second backward pass a step",
)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each row's two gradients, (b,)."""
    return (_directed(first) * _directed(second)).sum(dim=1)


def _directed(gradient: Tensor) -> Tensor:
    """Return the direction of each row's gradient, (b, d); rows without a gradient stay zero."""
    flat = gradient.float().flatten(1)
    largest = flat.detach().abs().amax(dim=1, keepdim=True)
    tiny = torch.finfo(flat.dtype).tiny
    # Gradients of a confident model are so small that their squares underflow, so rows are divided
    # by their largest entry first. Rows below the smallest normal number are not divided, because
    # the derivative would overflow; they count as rows without a direction.
    scaled = flat / torch.where(largest < tiny, torch.ones_like(largest), largest + tiny)
    return scaled / (scaled.square().sum(dim=1, keepdim=True) + _SMALL).sqrt()
