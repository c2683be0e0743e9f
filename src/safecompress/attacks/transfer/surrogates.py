"""`Surrogates`, `surrogates`: the models that an attacker makes with the small one and without it.

An attacker who holds a defended model does not attack that model alone. A copy that is trained on
with noise or on adversarial examples loses a defense that lives in high frequencies. Beside every
model made from the small one stands the same attacker's own network, made without it: what is
gained over that is what the small model gives away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot

from safecompress.attacks.transfer.retrain import Retraining, forgotten, retrained
from safecompress.errors import ConfigError
from safecompress.models.adapt import adapt
from safecompress.protocols import Ball, Rows
from safecompress.train.predict import predict

NOISE = 0.1
"""Standard deviation of the noise that copies are trained with, as a fraction of `noise_unit`."""
ADVERSARIAL_STEPS = 2
"""Steps of the attack that an adversarially trained copy is trained on."""
ADVERSARIAL_SHARE = 0.75
"""Epochs of the adversarially trained copy for each epoch of the noisy one."""
OWN_SHARE = 2
"""Epochs of the attacker's own network for each epoch of the noisy copy, since it starts anew."""
MOST_ROWS = 2_000
"""Most rows that an attacker trains on."""

NOISY_COPY = "a copy trained with noise"
ADVERSARIAL_COPY = "a copy trained adversarially"
BOTH = "that copy and an own network"
OWN = "an own network trained with noise"


@dataclass(frozen=True)
class Surrogates:
    """The models that points for the full model are crafted on, besides the small one.

    Args:
        held: made with the small model, by name.
        own: made by the same attacker from the same rows and answers without it, by name.
        questions: number of the full model's answers that they were taught.
    """

    held: Mapping[str, nn.Module] = field(default_factory=dict)
    own: Mapping[str, nn.Module] = field(default_factory=dict)
    questions: int = 0


def surrogates(
    small: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    near: Ball,
    epochs: int,
    seed: int,
    full: nn.Module | None = None,
    questions: int = 0,
) -> Surrogates:
    """Return the models of an attacker who holds the small model, and those of one who does not.

    Both have the same rows and ask the full model the same questions. With the small model there
    are a copy trained on with noise, one trained on adversarial examples, and an ensemble of the
    first with the attacker's own network; without it that network, of the small model's
    architecture with weights drawn anew and trained with noise.

    Args:
        small: the model the attacker holds; it is not changed and takes `x`.
        x: the attacker's rows, float (n, …); the first 2,000 are used.
        labels: int64 (n,), the true classes.
        near: the ball of the adversarial examples; has the input range, and which numbers may
            change.
        epochs: passes over the rows of the noisy copy, at least 1; the adversarial copy takes ¾ of
            them, the own network twice as many.
        seed: seed of weights, batches and noise.
        full: the attacked model; required where `questions` are asked.
        questions: number of rows about which the full model is asked; its probabilities replace
            their labels.

    Raises:
        ConfigError: on a negative number of questions, or without a model to ask.
    """
    x, labels = x[:MOST_ROWS], labels[:MOST_ROWS]
    asked = min(questions, len(x))
    targets = _targets(full, x, labels, questions=asked)
    noisy = Retraining(epochs=epochs, noise=NOISE)
    anew = Retraining(epochs=OWN_SHARE * epochs, noise=NOISE)
    adversarial = Retraining(
        epochs=max(1, round(ADVERSARIAL_SHARE * epochs)), adversarial_steps=ADVERSARIAL_STEPS
    )
    copies = {
        name: retrained(model, x, targets, how=how, near=near, seed=seed)
        for name, model, how in (
            (NOISY_COPY, small, noisy),
            (ADVERSARIAL_COPY, small, adversarial),
            (OWN, forgotten(small, seed=seed), anew),
        )
    }
    both = Ensemble([copies[NOISY_COPY], copies[OWN]])
    held = {name: copies[name] for name in (NOISY_COPY, ADVERSARIAL_COPY)} | {BOTH: both}
    return Surrogates(held, {OWN: copies[OWN]}, asked)


def _targets(full: nn.Module | None, x: Tensor, labels: Tensor, *, questions: int) -> Tensor:
    """Return what is learned: int64 (n,), or float (n, classes) where the full model was asked."""
    if questions < 0 or (questions and full is None):
        raise ConfigError(
            f"questions is {questions}; expected at least 0, and the full model to ask them."
        )
    if not questions or full is None:
        return labels
    nothing = torch.zeros(questions, dtype=torch.int64)
    said = predict(full, Rows(x[:questions], nothing, nothing)).logits.softmax(dim=1)
    known = one_hot(labels[questions:], said.shape[1]).to(said)
    return torch.cat([said, known])


class Ensemble(nn.Module):
    """The mean of several models' log-probabilities, as one model.

    Args:
        models: at least one; shared, not copied.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, points: Tensor) -> Tensor:
        """Return the mean log-probabilities, float (n, classes).

        Args:
            points: float (n, …), as every model takes them.
        """
        parts = [log_softmax(adapt(model(points)), dim=1) for model in self.models]
        return torch.stack(parts).mean(dim=0)
