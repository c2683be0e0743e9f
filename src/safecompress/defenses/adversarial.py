"""Adversarial training: an attacker learns beside the model, and the model learns to confuse it.

The published min-max term subtracts the attacker's cross-entropy and so can fall without end; one
release even had its sign wrong, which rewards looking like a member. Here what is added to the
loss is bounded on both sides, and minimising it always lowers the attacker's ability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from safecompress.attacks.features import (
    Parameters,
    feature_count,
    features,
    initial_parameters,
    membership_logits,
)
from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.protocols import (
    Batch,
    Defense,
    ModelLike,
    Rows,
    TrainingContext,
    map_inputs,
)
from safecompress.randomness import permutation

Gain = Literal["confusion", "clamped"]

LOG_2 = 0.6931471805599453
LARGEST_LOGIT = 10.0
"""The attacker's logit is bent into ±10, so no batch can make the penalty or its gradient huge."""

_TOP = 5
_HIDDEN = 64
_LEARNING_RATE = 1e-2
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def confusion(said: Tensor) -> Tensor:
    """Return the cross-entropy of the attacker's logits on members to a coin flip, a scalar.

    Smallest, log 2, where the attacker says ½ of every member.
    """
    return (softplus(said) - 0.5 * said).mean()


def clamped(said: Tensor) -> Tensor:
    """Return −min(the attacker's cross-entropy on a member, log 2), averaged, in [−log 2, 0].

    Pushes members until the attacker says ½ and no further: beyond, "surely not a member" would
    give them away as well.
    """
    return -softplus(-said).clamp(max=LOG_2).mean()


GAINS = {"confusion": confusion, "clamped": clamped}


class AdversarialTraining(Defense):
    """Add `weight` × gain to the loss, where the gain falls as the attacker does worse on members.

    Every step from `start` on, the attacker takes `attacker_steps` Adam steps on the batch's
    members and as many reference rows, both seen by the model in evaluation mode without
    gradients: mode, dropout and batch statistics must not tell the groups apart. Then the gain is
    taken through the batch's own logits.

    Args:
        weight: factor of the gain, at least 0; task accuracy pays for a larger one.
        start: share of the stage before the attacker joins, in [0, 1).
        attacker_steps: attacker steps per model step, at least 1.
        gain: `confusion` (attacker says ½ of members) or `clamped` (its cross-entropy on members,
            raised up to log 2).
        attacker: `neural`, a small network on the features of the attack of that name.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Nasr, Shokri & Houmansadr, CCS 2018, section 4, with the gain bounded.
    """

    name: ClassVar[str] = "adversarial"
    needs_reference: ClassVar[bool] = True

    def __init__(
        self,
        *,
        weight: float = 0.1,
        start: float = 0.33,
        attacker_steps: int = 1,
        gain: Gain = "confusion",
        attacker: Literal["neural"] = "neural",
    ) -> None:
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"weight is {weight}; expected a finite number, at least 0.")
        if not 0 <= start < 1:
            raise ConfigError(f"start is {start}; expected a share of the stage in [0, 1).")
        if attacker_steps < 1:
            raise ConfigError(f"attacker_steps is {attacker_steps}; expected at least 1.")
        if gain not in GAINS:
            raise ConfigError(f"gain is '{gain}'; expected one of {', '.join(GAINS)}.")
        if attacker != "neural":
            raise ConfigError(f"attacker is '{attacker}'; expected neural.")
        self.weight, self.start, self.attacker_steps, self.gain = (
            weight,
            start,
            attacker_steps,
            gain,
        )
        self._context: TrainingContext | None = None
        self._reference: Rows | None = None
        self._parameters: Parameters | None = None
        self._optimizer: torch.optim.Adam | None = None

    def prepare_(self, context: TrainingContext) -> None:
        """Take the reference rows and start with a fresh attacker.

        Raises:
            ConfigError: without reference rows.
        """
        if context.reference is None or len(context.reference) == 0:
            raise ConfigError(
                "adversarial: needs reference rows, which are neither members nor judged; "
                "set data.split.reference, for example to 0.2."
            )
        self._context = context
        self._reference = Rows(
            map_inputs(lambda t: t.to(context.device), context.reference.inputs),
            context.reference.labels.to(context.device),
            context.reference.ids.to(context.device),
        )
        self._renew_()

    def penalty(self, batch: Batch) -> Tensor | None:
        """Let the attacker learn, then return weight × gain; None before `start`."""
        if batch.progress < self.start:
            return None
        self._attacker_learns_(batch)
        gain = GAINS[self.gain](self.attacker_says(batch.logits, batch.labels))
        return self.weight * gain

    def attacker_says(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the attacker's logit of "member" for each row, (n,), in ±10."""
        parameters, _ = self._ready()
        seen = torch.asinh(features(logits.float(), labels, top=_TOP))
        said = membership_logits(parameters, seen).squeeze(0)
        return LARGEST_LOGIT * torch.tanh(said / LARGEST_LOGIT)

    def state(self) -> dict[str, Tensor]:
        """Return copies of the attacker's parameters and Adam's state."""
        parameters, optimizer = self._ready()
        saved = {f"parameter.{i}": p.detach().clone() for i, p in enumerate(parameters)}
        for i, parameter in enumerate(parameters):
            for key, value in optimizer.state.get(parameter, {}).items():
                saved[f"{key}.{i}"] = value.detach().clone()
        return saved

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned; an empty mapping gives a fresh attacker."""
        self._renew_()
        if not state:
            return
        parameters, optimizer = self._ready()
        for i, parameter in enumerate(parameters):
            with torch.no_grad():
                parameter.copy_(state[f"parameter.{i}"])
            moments = {k: state[f"{k}.{i}"].clone() for k in _MOMENTS if f"{k}.{i}" in state}
            if moments:
                moments |= {k: moments[k].to(parameter.device) for k in _MOMENTS[:2]}
                optimizer.state[parameter] = moments

    def _renew_(self) -> None:
        if self._context is None:
            raise ConfigError("adversarial: prepare_ must be called before the defence is used.")
        drawn = initial_parameters(
            feature_count(self._context.classes, top=_TOP),
            hidden=_HIDDEN,
            heads=1,
            seed=self._context.seed,
            name=self.name,
        )
        first, first_bias, last, last_bias = (
            p.to(self._context.device).requires_grad_() for p in drawn
        )
        self._parameters = (first, first_bias, last, last_bias)
        self._optimizer = torch.optim.Adam(self._parameters, lr=_LEARNING_RATE)

    def _ready(self) -> tuple[Parameters, torch.optim.Adam]:
        if self._parameters is None or self._optimizer is None:
            raise ConfigError("adversarial: prepare_ must be called before the defence is used.")
        return self._parameters, self._optimizer

    def _attacker_learns_(self, batch: Batch) -> None:
        parameters, optimizer = self._ready()
        member_logits: Tensor | None = None
        for k in range(self.attacker_steps):
            drawn = self._drawn(len(batch.labels), step=batch.step, k=k)
            with _evaluating(batch.model):
                if member_logits is None:
                    member_logits = call(batch.model, batch.inputs)
                reference_logits = call(batch.model, drawn.inputs)
            on_members = self.attacker_says(member_logits, batch.labels)
            on_reference = self.attacker_says(reference_logits, drawn.labels)
            loss = 0.5 * (softplus(-on_members).mean() + softplus(on_reference).mean())
            gradients = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()

    def _drawn(self, n: int, *, step: int, k: int) -> Rows:
        """Return up to n reference rows, a function of the run's seed, the step and k."""
        if self._context is None or self._reference is None:
            raise ConfigError("adversarial: prepare_ must be called before the defence is used.")
        order = permutation(len(self._reference), self._context.seed, self.name, step, k)
        return self._reference.take(order[:n].to(self._context.device))


@contextmanager
def _evaluating(model: ModelLike) -> Iterator[None]:
    """Put a module in evaluation mode without gradients, and every part back as it was."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    before = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training
