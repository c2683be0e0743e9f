"""`Retraining`, `retrained`, `forgotten`: an attacker trains a model of its own or from a copy."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.attacks.transfer.smoothing import is_image, noisy, require_noise
from safecompress.errors import ConfigError
from safecompress.models.adapt import adapt
from safecompress.protocols import Ball
from safecompress.randomness import generator, seeded
from safecompress.train.augment import crop_flip

_ADVERSARIAL_STEP = 1.4
"""Size of a step of the attack in training, times the radius over the number of steps."""

_COLORS = 3


@dataclass(frozen=True)
class Retraining:
    """How an attacker trains a model on.

    Nothing keeps the model near what it said before: a term that does would keep a defense, too.

    Args:
        epochs: number of passes over the rows, at least 1.
        noise: standard deviation of Gaussian noise on the rows, at least 0, as a fraction of the
            input range (of the root mean square of a row's embeddings for text).
        adversarial_steps: steps of the gradient attack on every batch, inside the ball `near`; 0
            trains on the rows as they are.
        augment: whether images of three colors are shifted by up to an eighth of their height and
            mirrored at random, each anew in every epoch; other inputs are taken as they are, since
            a mirrored digit is another sign.
        learning_rate: step size of Adam, > 0.
        batch_size: number of rows in a step, at least 1.

    Raises:
        ConfigError: when an option is out of range.

    Reference: for adversarial examples as training rows, Madry et al., ICLR 2018, section 2.1; that
    slightly adversarially trained models transfer better, Springer et al., NeurIPS 2021.
    """

    epochs: int
    noise: float = 0.0
    adversarial_steps: int = 0
    augment: bool = True
    learning_rate: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        for option, least in (("epochs", 1), ("adversarial_steps", 0), ("batch_size", 1)):
            if getattr(self, option) < least:
                raise ConfigError(
                    f"{option} is {getattr(self, option)}; expected at least {least}."
                )
        require_noise(self.noise, option="noise")
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigError(f"learning_rate is {self.learning_rate}; expected a positive number.")


def retrained(
    model: nn.Module, x: Tensor, targets: Tensor, *, how: Retraining, near: Ball, seed: int
) -> nn.Module:
    """Return a copy of a model after further training, in evaluation mode.

    Args:
        model: the model to copy; it is not changed and takes `x`.
        x: n rows that the attacker has, float (n, …).
        targets: what to learn: classes, int64 (n,), or probabilities, float (n, classes).
        how: epochs, noise and adversarial examples.
        near: the ball of the adversarial examples; has the input range, and which numbers may
            change.
        seed: seed of the order of the batches, of the noise and of dropout.
    """
    device = next(model.parameters()).device
    student = copy.deepcopy(model)
    for parameter in student.parameters():
        parameter.requires_grad_()
    optimizer = torch.optim.Adam(student.parameters(), how.learning_rate)
    with seeded(seed, "retrained"), torch.enable_grad():
        student.train()
        for epoch in range(how.epochs):
            draw = generator(seed, "retrained", epoch)
            order = torch.randperm(len(x), generator=draw)
            for index in torch.split(order, how.batch_size):
                if len(index) < 2 < len(x):
                    # Batch normalization cannot train on a batch of one row.
                    continue
                rows, wanted = x[index], targets[index].to(device)
                if how.augment and is_image(rows) and rows.shape[1] == _COLORS:
                    rows = crop_flip(rows, draw, padding=rows.shape[2] // 8)
                if how.noise:
                    around = torch.randn(rows.shape, generator=draw)
                    rows = noisy(rows, around, how.noise, ball=near)
                rows = rows.to(device)
                if how.adversarial_steps:
                    rows = _attacked(student, rows, wanted, near, how.adversarial_steps)
                optimizer.zero_grad()
                loss = cross_entropy(adapt(student(rows)), wanted)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return student.eval()


def _attacked(student: nn.Module, x: Tensor, wanted: Tensor, near: Ball, steps: int) -> Tensor:
    """Return points near rows on which the model in training does worse."""
    points = x
    for _ in range(steps):
        leaf = points.detach().requires_grad_()
        loss = cross_entropy(adapt(student(leaf)), wanted, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        size = _ADVERSARIAL_STEP * near.radius / steps
        points = near.project(leaf.detach() + near.step(gradient, size), x)
    return points.detach()


def forgotten(model: nn.Module, *, seed: int) -> nn.Module:
    """Return a copy of a model with weights that know nothing of what it learned.

    Modules that can are reset as when they were made. The entries of all other parameters are
    shuffled, which leaves their sizes and takes away their meaning. Weights that a mask had removed
    exist again.

    Args:
        model: the model to copy; it is not changed.
        seed: seed of the weights.
    """
    fresh = copy.deepcopy(model)
    reset: set[int] = set()
    with seeded(seed, "forgotten"), torch.no_grad():
        for module in fresh.modules():
            again = getattr(module, "reset_parameters", None)
            if callable(again):
                again()
                reset |= {id(p) for p in module.parameters(recurse=False)}
        for parameter in fresh.parameters():
            if id(parameter) not in reset:
                order = torch.randperm(parameter.numel()).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
    return fresh
