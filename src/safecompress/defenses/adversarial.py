"""`AdversarialTraining`: attackers learn during training, and the model learns to confuse them.

The published min-max objective subtracts the attacker's cross-entropy, which has no upper bound, so
the loss can fall without end; one published implementation even has the sign wrong, which rewards
outputs that look like a member's. Here the term that is added to the loss is bounded on both sides,
and lowering it always lowers the attacker's ability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
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
from safecompress.train.predict import evaluating

Gain = Literal["confusion", "clamped"]
AttackerKind = Literal["neural", "white-box", "both"]

LOG_2 = 0.6931471805599453
LARGEST_LOGIT = 10.0
"""Bound of the attackers' logits, so that no batch can make the penalty or its gradient huge."""

ATTACKERS: dict[str, tuple[bool, ...]] = {
    "neural": (False,),
    "white-box": (True,),
    "both": (False, True),
}
"""Per mode, for each of its attackers, whether it also reads the model's last features."""

_TOP = 5
_DIRECTIONS = 16
"""Number of random directions onto which the last features are projected for an attacker."""
_PARAMETERS = 4
"""Number of tensors that hold one attacker's parameters."""
_SMALL = 1e-12
_HIDDEN = 64
_LEARNING_RATE = 1e-2
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def confusion(logits: Tensor) -> Tensor:
    """Return the cross-entropy between a coin flip and the attackers' outputs, a scalar.

    It is smallest, log 2, where an attacker gives every member the probability ½.

    Args:
        logits: the attackers' logits of "member" for members, of any shape.
    """
    return (softplus(logits) - 0.5 * logits).mean()


def clamped(logits: Tensor) -> Tensor:
    """Return −min(the attackers' cross-entropy on a member, log 2), averaged, in [−log 2, 0].

    Lowering it moves an attacker's probability of "member" down to ½ and no further, because
    members for which the attacker outputs "surely not a member" are recognizable as well.

    Args:
        logits: the attackers' logits of "member" for members, of any shape.
    """
    return -softplus(-logits).clamp(max=LOG_2).mean()


GAINS = {"confusion": confusion, "clamped": clamped}


class AdversarialTraining(Defense):
    """Add `weight` × gain to the loss, where the gain falls as attackers do worse on members.

    In every step from `start` on, each attacker first takes `attacker_steps` Adam steps on the
    batch's members and as many reference rows. The model answers both in evaluation mode without
    gradients, so that mode, dropout and batch statistics do not tell the groups apart. The gain is
    then computed from the batch's own logits, through which its gradient reaches the model.

    Args:
        weight: factor of the gain, at least 0; a larger one costs task accuracy.
        start: share of the stage before the attacker joins, in [0, 1).
        attacker_steps: attacker steps per model step, at least 1.
        gain: `confusion` (moves the attacker's probability of members to ½) or `clamped` (raises
            its cross-entropy on members up to log 2).
        attacker: `neural`, a small network on the features of the attack of that name; `white-box`,
            one that also reads the last layer's features and the length of its gradient; or `both`,
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
        self._white_box = ATTACKERS[attacker]
        self.needs_features = any(self._white_box)
        self._context: TrainingContext | None = None
        self._reference: Rows | None = None
        self._parameters: tuple[Tensor, ...] | None = None
        self._optimizer: torch.optim.Adam | None = None

    def prepare_(self, context: TrainingContext) -> None:
        """Copy the reference rows to the device and start with untrained attackers.

        Args:
            context: its reference rows stand for non-members; its seed draws the attackers.

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
        """Train the attackers on the batch, then return weight × gain, a scalar.

        Args:
            batch: its members, its logits and, for white-box attackers, its last features are
                read.

        Returns:
            A scalar attached to the batch's logits; None before `start`.
        """
        if batch.progress < self.start:
            return None
        self._attackers_learn_(batch)
        logits = self.attacker_logits(batch.logits, batch.labels, batch.features)
        return self.weight * GAINS[self.gain](logits)

    def attacker_logits(
        self, logits: Tensor, labels: Tensor, last_features: Tensor | None = None
    ) -> Tensor:
        """Return each attacker's logit of "member" for each row, (attackers, n), in ±10.

        Args:
            logits: (n, classes), of the model.
            labels: int64 (n,).
            last_features: (n, d), what the model's last weight layer is given; white-box attackers
                need it.

        Raises:
            ConfigError: before `prepare_`, or when a white-box attacker gets no last features.
        """
        return self._membership_logits(self._attacker_inputs(logits, labels, last_features))

    def _attacker_inputs(
        self, logits: Tensor, labels: Tensor, last_features: Tensor | None
    ) -> list[Tensor]:
        """Return per attacker the features that it reads of each row, (n, its features)."""
        black_box = torch.asinh(features(logits.float(), labels, top=_TOP))
        if not self.needs_features:
            return [black_box]
        internal = self._internal_features(logits, labels, last_features)
        both = torch.cat([black_box, internal], dim=1)
        return [both if white_box else black_box for white_box in self._white_box]

    def _membership_logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return each attacker's logit of "member" for each row of its inputs."""
        parameters, _ = self._ready()
        logits = []
        for place, rows in enumerate(inputs):
            first, first_bias, last, last_bias = parameters[_PARAMETERS * place :][:_PARAMETERS]
            logits.append(membership_logits((first, first_bias, last, last_bias), rows))
        return LARGEST_LOGIT * torch.tanh(torch.cat(logits) / LARGEST_LOGIT)

    def _internal_features(
        self, logits: Tensor, labels: Tensor, last_features: Tensor | None
    ) -> Tensor:
        """Return random projections of the last features h, and the lengths of h and p − y.

        The gradient of the last layer's weights is (p − y) ⊗ h, where p are the probabilities and
        y is the one-hot label, so its length is the product of the two lengths.
        """
        if last_features is None or self._context is None:
            raise ConfigError("adversarial: a white-box attacker needs the batch's features.")
        h = last_features.float()
        draw = generator(self._context.seed, self.name, "directions", h.shape[1])
        directions = torch.randn(h.shape[1], _DIRECTIONS, generator=draw).to(h.device)
        residual = softmax(logits.float(), dim=1) - one_hot(labels, logits.shape[1])
        # A length has no gradient at 0, so a small number is added to its square.
        lengths = [(t.square().sum(dim=1) + _SMALL).sqrt().log() for t in (h, residual)]
        return torch.cat([normalize(h, dim=1) @ directions, torch.stack(lengths, dim=1)], dim=1)

    def state(self) -> dict[str, Tensor]:
        """Return copies of the attackers' parameters and of Adam's state."""
        parameters, optimizer = self._ready()
        saved = {f"parameter.{i}": p.detach().clone() for i, p in enumerate(parameters)}
        for i, parameter in enumerate(parameters):
            for key, value in optimizer.state.get(parameter, {}).items():
                saved[f"{key}.{i}"] = value.detach().clone()
        return saved

    def load_state_(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state; an empty mapping gives untrained attackers.

        Args:
            state: what `state` returned, or an empty mapping.
        """
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
        parameters: list[Tensor] = []
        for white_box in self._white_box:
            parameters += initial_parameters(
                width + (_DIRECTIONS + 2) * white_box,
                hidden=_HIDDEN,
                heads=1,
                seed=self._context.seed,
                name=self.name,
            )
        self._parameters = tuple(p.to(self._context.device).requires_grad_() for p in parameters)
        self._optimizer = torch.optim.Adam(self._parameters, lr=_LEARNING_RATE, fused=True)

    def _ready(self) -> tuple[tuple[Tensor, ...], torch.optim.Adam]:
        if self._parameters is None or self._optimizer is None:
            raise ConfigError("adversarial: prepare_ must be called before the defense is used.")
        return self._parameters, self._optimizer

    def _attackers_learn_(self, batch: Batch) -> None:
        """Take the attackers' steps; the model does not change meanwhile, so it runs only once."""
        parameters, optimizer = self._ready()
        n = len(batch.labels)
        draws = [self._reference_rows(n, step=batch.step, k=k) for k in range(self.attacker_steps)]
        reference = concatenate(*draws)
        with evaluating(batch.model), torch.no_grad():
            members = self._attacker_inputs(
                *self._model_outputs(batch.model, batch.inputs, batch.labels)
            )
            others = self._attacker_inputs(
                *self._model_outputs(batch.model, reference.inputs, reference.labels)
            )
        for draw in zip(*(torch.split(t, len(draws[0])) for t in others), strict=True):
            logits = self._membership_logits(
                [torch.cat(pair) for pair in zip(members, draw, strict=True)]
            )
            loss = 0.5 * (softplus(-logits[:, :n]).mean() + softplus(logits[:, n:]).mean())
            gradients = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()

    def _model_outputs(
        self, model: ModelLike, inputs: Inputs, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return logits, the labels, and the last features where an attacker reads them."""
        if self.needs_features:
            logits, last_features = call_with_features(model, inputs)
            return logits, labels, last_features
        return call(model, inputs), labels, None

    def _reference_rows(self, n: int, *, step: int, k: int) -> Rows:
        """Return up to n reference rows, fixed by the run's seed, the step and k."""
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
