"""Unpairing: training a small model away from the input gradients of the one it was made from.

Who holds the small model crafts inputs on it and sends them to the large one. They fool it as far
as both models' losses rise in the same directions, so these are what is pulled apart, while the
small model goes on saying what it said.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from safecompress.attacks.transfer import Aim, input_gradient
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.models.adapt import adapt
from safecompress.proposals import UNPAIRING
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.train.predict import full_precision
from safecompress.transforms import input_quantizers, ranges_of

_WEIGHT = "weight"
_START, _RANGE = "start.", "range."
_SMALL = 1e-12


class Unpairing(Defense):
    """Add alpha × KL(f ‖ f') + weight × mean |cos(∇x CE(F), ∇x CE(f'))| to the loss.

    f' is the model in training, F the dense one, whose gradient is a constant, and f is f' as it
    was at the first step with a weight above 0. The model's own mask and optimizer are left as they
    are: the trainer keeps them.

    Args:
        weight: λ, at least 0; 0 adds nothing. A proposal may set another one for its candidate.
        alpha: of staying with what the model said before, at least 0.

    Raises:
        ConfigError: on a negative number.

    Reference: after Hong, Carlini & Kurakin, SaTML 2023 (arXiv 2212.13700); the loss is ours.
    """

    name: ClassVar[str] = UNPAIRING
    needs_dense: ClassVar[bool] = True
    needs_input_gradients: ClassVar[bool] = True

    def __init__(self, *, weight: float = 1.0, alpha: float = 1.0) -> None:
        for option, value in (("weight", weight), ("alpha", alpha)):
            if not 0 <= value < float("inf"):
                raise ConfigError(f"{option} is {value}; expected a finite number, at least 0.")
        self.weight, self.alpha = weight, alpha
        self._current = weight
        self._dense: nn.Module | None = None
        self._before: dict[str, Tensor] = {}
        self._ranges: dict[str, Tensor] = {}
        self._teacher: nn.Module | None = None

    def prepare_(self, context: TrainingContext) -> None:
        """Take the dense model, frozen.

        Raises:
            ConfigError: without one.
        """
        if context.dense is None:
            raise ConfigError(f"{self.name}: needs the dense model.")
        self._dense = copy.deepcopy(context.dense).requires_grad_(False).eval()
        self.load_state_({})

    def penalty(self, batch: Batch) -> Tensor | None:
        """Return the two terms; None while the weight is 0.

        Raises:
            ConfigError: where inputs are not one tensor of real numbers.
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
        said = log_softmax(batch.logits.float(), dim=1)
        before = log_softmax(self._said_before(batch).float(), dim=1)
        stay = kl_div(said, before, log_target=True, reduction="batchmean")
        return self.alpha * stay + self._current * cosine

    def cosines(self, batch: Batch) -> Tensor:
        """Return the cosine of both models' input gradients, (b,), attached to f' alone."""
        if self._dense is None or not isinstance(batch.inputs, Tensor):
            raise ConfigError(f"{self.name}: prepare_ must be called before the defense is used.")
        dense = self._dense
        with full_precision(batch.inputs.device):
            theirs = input_gradient(
                lambda x: adapt(dense(x)), batch.inputs.detach(), Aim(batch.labels)
            )
        loss = cross_entropy(batch.logits.float(), batch.labels, reduction="sum")
        (ours,) = torch.autograd.grad(loss, batch.inputs, create_graph=True)
        return (_directed(ours) * _directed(theirs)).sum(dim=1)

    def _said_before(self, batch: Batch) -> Tensor:
        """Return the logits of the model as it was when unpairing began."""
        if self._teacher is None:
            live = getattr(batch.model, "module", batch.model)
            if not isinstance(live, nn.Module) or not isinstance(batch.inputs, Tensor):
                raise ConfigError(f"{self.name}: needs a model that is a torch.nn.Module.")
            with torch.no_grad():
                made = copy.deepcopy(live)
            quantizers = input_quantizers(made)
            if self._before:
                made.load_state_dict(self._before)
                for name, quantizer in quantizers.items():
                    quantizer.bounds = self._ranges.get(name)
            else:
                self._ranges = ranges_of(quantizers)
            self._before = {k: v.detach().clone() for k, v in made.state_dict().items()}
            self._teacher = made.requires_grad_(False).eval()
        with torch.no_grad():
            return adapt(self._teacher(batch.inputs))

    def state(self) -> dict[str, Tensor]:
        """Return the weight, and the model as it was when unpairing began."""
        kept = {_START + name: value.clone() for name, value in self._before.items()}
        kept |= {_RANGE + name: bounds.clone() for name, bounds in self._ranges.items()}
        return {_WEIGHT: torch.tensor([self._current]), **kept}

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned, or the weight alone, as a proposal sets it."""
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


def _directed(gradient: Tensor) -> Tensor:
    """Return each row's direction, (b, d); rows without a gradient stay zero."""
    flat = gradient.float().flatten(1)
    largest = flat.detach().abs().amax(dim=1, keepdim=True)
    tiny = torch.finfo(flat.dtype).tiny
    # A sure model's gradients are tiny; their lengths are taken where squares do not vanish. Below
    # the smallest normal number the derivative of a direction overflows: such rows have none.
    scaled = flat / torch.where(largest < tiny, torch.ones_like(largest), largest + tiny)
    return scaled / (scaled.square().sum(dim=1, keepdim=True) + _SMALL).sqrt()
