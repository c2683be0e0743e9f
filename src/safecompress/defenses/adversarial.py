"""Adversarial training: an attacker learns beside the model, and the model learns to confuse it.

The published min-max term subtracts the attacker's cross-entropy and so can fall without end; one
release even had its sign wrong, which rewards looking like a member. Here what is added to the
loss is bounded on both sides, and minimizing it always lowers the attacker's ability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot, softmax, softplus

from safecompress.attacks.features import (
    feature_count,
    features,
    initial_parameters,
    membership_logits,
)
from safecompress.data.rows import concatenate
from safecompress.defenses.registry import DEFENSES
from safecompress.errors import ConfigError
from safecompress.models.adapt import call
from safecompress.protocols import (
    Batch,
    Defense,
    Inputs,
    ModelLike,
    Rows,
    TrainingContext,
    map_inputs,
)
from safecompress.randomness import generator, permutation
from safecompress.train.features import call_with_features

Gain = Literal["confusion", "clamped"]
AttackerKind = Literal["neural", "white-box", "both"]

LOG_2 = 0.6931471805599453
LARGEST_LOGIT = 10.0
"""The attacker's logit is bent into ±10, so no batch can make the penalty or its gradient huge."""

ATTACKERS: dict[str, tuple[bool, ...]] = {
    "neural": (False,),
    "white-box": (True,),
    "both": (False, True),
}
"""Of each attacker in a mode, whether it sees the last features."""

_TOP = 5
_DIRECTIONS = 16
"""Random directions in which a white-box attacker sees the last features."""
_PARAMETERS = 4
"""Tensors that one attacker is made of."""
_SMALL = 1e-12
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
    """Add `weight` × gain to the loss, where the gain falls as attackers do worse on members.

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
        attacker: `neural`, a small network on the features of the attack of that name; `white-box`,
            one that also sees the last layer's features and the length of its gradient; or `both`,
            one of each, whose gains are averaged.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Nasr, Shokri & Houmansadr, CCS 2018, section 4, with the gain bounded; the modes are
    those of SafeCompress, TSE 2024 (arXiv 2401.00996).
    """

    name: ClassVar[str] = "adversarial"
    needs_reference: bool = True

    def __init__(
        self,
        *,
        weight: float = 0.1,
        start: float = 0.33,
        attacker_steps: int = 1,
        gain: Gain = "confusion",
        attacker: AttackerKind = "neural",
    ) -> None:
        if not 0 <= weight < float("inf"):
            raise ConfigError(f"weight is {weight}; expected a finite number, at least 0.")
        if not 0 <= start < 1:
            raise ConfigError(f"start is {start}; expected a share of the stage in [0, 1).")
        if attacker_steps < 1:
            raise ConfigError(f"attacker_steps is {attacker_steps}; expected at least 1.")
        if gain not in GAINS:
            raise ConfigError(f"gain is '{gain}'; expected one of {', '.join(GAINS)}.")
        if attacker not in ATTACKERS:
            raise ConfigError(f"attacker is '{attacker}'; expected one of {', '.join(ATTACKERS)}.")
        self.weight, self.start, self.attacker_steps, self.gain = (
            weight,
            start,
            attacker_steps,
            gain,
        )
        self._inside = ATTACKERS[attacker]
        self.needs_features = any(self._inside)
        self._context: TrainingContext | None = None
        self._reference: Rows | None = None
        self._parameters: tuple[Tensor, ...] | None = None
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
        said = self.attackers_say(batch.logits, batch.labels, batch.features)
        return self.weight * GAINS[self.gain](said)

    def attackers_say(self, logits: Tensor, labels: Tensor, inside: Tensor | None = None) -> Tensor:
        """Return each attacker's logit of "member" for each row, (attackers, n), in ±10.

        Args:
            logits: (n, classes).
            labels: int64 (n,).
            inside: (n, d), the last features; for white-box attackers.
        """
        return self._say(self._seen(logits, labels, inside))

    def _seen(self, logits: Tensor, labels: Tensor, inside: Tensor | None) -> list[Tensor]:
        """Return what each attacker sees of each row, (n, its features)."""
        outside = torch.asinh(features(logits.float(), labels, top=_TOP))
        if not self.needs_features:
            return [outside]
        both = torch.cat([outside, self._seen_inside(logits, labels, inside)], dim=1)
        return [both if looks_inside else outside for looks_inside in self._inside]

    def _say(self, seen: Sequence[Tensor]) -> Tensor:
        """Return each attacker's logit of "member" for each row it sees."""
        parameters, _ = self._ready()
        said = []
        for place, rows in enumerate(seen):
            first, first_bias, last, last_bias = parameters[_PARAMETERS * place :][:_PARAMETERS]
            said.append(membership_logits((first, first_bias, last, last_bias), rows))
        return LARGEST_LOGIT * torch.tanh(torch.cat(said) / LARGEST_LOGIT)

    def _seen_inside(self, logits: Tensor, labels: Tensor, inside: Tensor | None) -> Tensor:
        """Return the last features in random directions, their size and their gradient's.

        The last layer's gradient is (p − y) ⊗ h: directions of h and the length of either factor.
        """
        if inside is None or self._context is None:
            raise ConfigError("adversarial: a white-box attacker needs the batch's features.")
        h = inside.float()
        draw = generator(self._context.seed, self.name, "directions", h.shape[1])
        directions = torch.randn(h.shape[1], _DIRECTIONS, generator=draw).to(h.device)
        residual = softmax(logits.float(), dim=1) - one_hot(labels, logits.shape[1])
        # A length has no gradient at 0, so it is kept a little above.
        sizes = [(t.square().sum(dim=1) + _SMALL).sqrt().log() for t in (h, residual)]
        return torch.cat([normalize(h, dim=1) @ directions, torch.stack(sizes, dim=1)], dim=1)

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
                optimizer.state[parameter] = {k: t.to(parameter.device) for k, t in moments.items()}

    def _renew_(self) -> None:
        if self._context is None:
            raise ConfigError("adversarial: prepare_ must be called before the defense is used.")
        width = feature_count(self._context.classes, top=_TOP)
        drawn: list[Tensor] = []
        for looks_inside in self._inside:
            drawn += initial_parameters(
                width + (_DIRECTIONS + 2) * looks_inside,
                hidden=_HIDDEN,
                heads=1,
                seed=self._context.seed,
                name=self.name,
            )
        self._parameters = tuple(p.to(self._context.device).requires_grad_() for p in drawn)
        self._optimizer = torch.optim.Adam(self._parameters, lr=_LEARNING_RATE, fused=True)

    def _ready(self) -> tuple[tuple[Tensor, ...], torch.optim.Adam]:
        if self._parameters is None or self._optimizer is None:
            raise ConfigError("adversarial: prepare_ must be called before the defense is used.")
        return self._parameters, self._optimizer

    def _attacker_learns_(self, batch: Batch) -> None:
        """Take the attacker's steps; the model stands still, so it is asked once for them all."""
        parameters, optimizer = self._ready()
        n = len(batch.labels)
        drawn = [self._drawn(n, step=batch.step, k=k) for k in range(self.attacker_steps)]
        reference = concatenate(*drawn)
        with _evaluating(batch.model):
            members = self._seen(*self._asked(batch.model, batch.inputs, batch.labels))
            others = self._seen(*self._asked(batch.model, reference.inputs, reference.labels))
        for here in zip(*(torch.split(t, len(drawn[0])) for t in others), strict=True):
            said = self._say([torch.cat(pair) for pair in zip(members, here, strict=True)])
            loss = 0.5 * (softplus(-said[:, :n]).mean() + softplus(said[:, n:]).mean())
            gradients = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()

    def _asked(
        self, model: ModelLike, inputs: Inputs, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits, the labels, and the last features where an attacker sees them."""
        if self.needs_features:
            logits, inside = call_with_features(model, inputs)
            return logits, labels, inside
        return call(model, inputs), labels, None

    def _drawn(self, n: int, *, step: int, k: int) -> Rows:
        """Return up to n reference rows, a function of the run's seed, the step and k."""
        if self._context is None or self._reference is None:
            raise ConfigError("adversarial: prepare_ must be called before the defense is used.")
        order = permutation(len(self._reference), self._context.seed, self.name, step, k)
        return self._reference.take(order[:n].to(self._context.device))


DEFENSES.add(
    "adversarial",
    AdversarialTraining,
    summary="attackers, black- or white-box, learn beside the model, and it learns to confuse them",
    reference="Nasr, Shokri & Houmansadr, CCS 2018; gain bounded here",
    cost="inherits dense weights; two more forward passes a batch from `start` on",
)


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
