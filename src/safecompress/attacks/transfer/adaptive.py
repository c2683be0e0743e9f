"""`transferred`: how often points crafted on a small model fool the full model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.attacks.transfer.craft import craft
from safecompress.attacks.transfer.diverse import DiverseInputs
from safecompress.attacks.transfer.feature import FeatureFgsm
from safecompress.attacks.transfer.gradients import gives_gradients
from safecompress.attacks.transfer.masking import gradient_signs
from safecompress.attacks.transfer.momentum import MomentumFgsm
from safecompress.attacks.transfer.outcome import TransferOutcome
from safecompress.attacks.transfer.pgd import Pgd
from safecompress.attacks.transfer.query_transfer import QueryTransfer
from safecompress.attacks.transfer.rgf import Rgf
from safecompress.attacks.transfer.smoothed import SmoothedFgsm
from safecompress.attacks.transfer.smoothing import is_image
from safecompress.attacks.transfer.square import Square
from safecompress.attacks.transfer.surrogates import NOISE, Surrogates
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Ball, Rows, TransferAttack
from safecompress.randomness import generator
from safecompress.train.predict import predict

WHITE_BOX = Pgd(steps=50, restarts=2, loss="margin", early_stop=True)
"""The white-box attack that measures how often a model can be fooled at all."""
QUESTIONED = 50
"""Number of rows on which a query attack measures how often the small model can be fooled, where
the full model has no gradients."""
SHRINK = 0.75
"""Smallest side of a shrunk image in the attacks on diverse inputs."""


def adaptive_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the gradient attacks on the small model itself, by name.

    Some smooth its gradients: on images by a blur, on others by a mean over noise alone. One
    follows a layer inside.

    Args:
        x: rows, float (n, …); only the number of dimensions is used.
    """
    attackers: dict[str, TransferAttack] = {
        "pgd-10": Pgd(steps=10),
        "pgd restarts": Pgd(steps=20, restarts=3, random_start=True),
        "mi-fgsm": MomentumFgsm(steps=10),
        "margin": Pgd(steps=20, loss="margin"),
        "features": FeatureFgsm(steps=20),
    }
    if not is_image(x):
        return attackers | {
            "noise": SmoothedFgsm(steps=20, blur=0, noise=NOISE, samples=2),
            "less noise": SmoothedFgsm(steps=20, blur=0, noise=NOISE / 2, samples=2),
        }
    return attackers | {
        "di-fgsm": DiverseInputs(steps=20, shrink=SHRINK),
        "blur .6": SmoothedFgsm(steps=10, blur=0.6),
        "blur 1": SmoothedFgsm(steps=20, blur=1.0),
        "blur 1 margin": SmoothedFgsm(steps=10, blur=1.0, loss="margin", restarts=2),
        "blur 1 diverse": SmoothedFgsm(steps=20, blur=1.0, shrink=SHRINK),
        "blur 1.5 diverse": SmoothedFgsm(steps=20, blur=1.5, shrink=SHRINK),
    }


def surrogate_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the gradient attacks on models that an attacker trained, by name.

    Args:
        x: rows, float (n, …); only the number of dimensions is used.
    """
    attackers: dict[str, TransferAttack] = {
        "momentum": SmoothedFgsm(steps=10, blur=0),
        "noise": SmoothedFgsm(steps=20, blur=0, noise=NOISE, samples=4),
    }
    if is_image(x):
        attackers["diverse"] = SmoothedFgsm(steps=20, blur=0, shrink=SHRINK)
    return attackers


def query_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the attacks to run on a small model without gradients, by name.

    Args:
        x: rows, float (n, …); only the number of dimensions is used.
    """
    attackers: dict[str, TransferAttack] = {"rgf on itself": QueryTransfer(Rgf())}
    if is_image(x):
        attackers["square on itself"] = QueryTransfer(Square())
    return attackers


def transferred(
    full: nn.Module,
    small: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    seed: int,
    attackers: Mapping[str, TransferAttack] | None = None,
    surrogates: Surrogates | None = None,
    targeted: bool = False,
) -> TransferOutcome:
    """Craft points on a small model by several attacks and evaluate them on the full model.

    Args:
        full: the attacked model; takes `x`, as `small` does. Its gradients are used only to measure
            how often white-box PGD fools it, which is skipped where it has none.
        small: the model the attacker holds.
        x: rows in units, or as points of their `Space`, float (n, …).
        labels: int64 (n,), the true classes.
        ball: the points that may be sent instead of a row.
        seed: seed of everything random, including the targets.
        attackers: the attacks to run on every model, by name; None is `adaptive_attackers` on the
            small one, or `query_attackers` where it has no gradients, and `surrogate_attackers` on
            the others.
        surrogates: the models that the attacker made with the small one, and those of an attacker
            without it, whose points make `TransferOutcome.without`.
        targeted: whether a point must be classified as a class drawn at random for its row.

    Raises:
        UndecidableError: when there is no row that both models classify correctly.
        ConfigError: when an attacker and a surrogate together are called like another attacker.
    """
    rows = right_on_both(full, small, x, labels)
    x, labels = x[rows], labels[rows]
    classes = _logits(full, x[:1]).shape[1]
    targets = drawn_targets(labels, classes, seed=seed) if targeted else None
    small_gradients, full_gradients = gives_gradients(small, x), gives_gradients(full, x)
    runs = _runs(small, x, attackers, surrogates or Surrogates(), climbing=small_gradients)
    fooled: dict[bool, dict[str, Tensor]] = {True: {}, False: {}}
    best, points = -1.0, x
    for run in runs:
        crafted = craft(run.attack, run.source, x, labels, ball=ball, seed=seed, targets=targets)
        predicted = _logits(full, crafted).argmax(1)
        hit = predicted != labels if targets is None else predicted == targets
        fooled[run.held][run.name] = hit
        rate = float(hit.double().mean())
        if run.held and rate > best:
            best, points = rate, crafted
    white_box, white_box_full = (
        _fooled_by(WHITE_BOX, model, x, labels, ball=ball, seed=seed) if differentiable else None
        for model, differentiable in ((small, small_gradients), (full, full_gradients))
    )
    questioned = None
    if small_gradients and not full_gradients:
        few = slice(QUESTIONED)
        by_queries = QueryTransfer(Rgf())
        questioned = _fooled_by(by_queries, small, x[few], labels[few], ball=ball, seed=seed)
    signs = None
    if small_gradients and full_gradients:
        signs = gradient_signs(full, small, x, labels, ball=ball, seed=seed)
    return TransferOutcome(
        fooled[True],
        fooled[False],
        {run.name: run.on for run in runs if run.on},
        white_box,
        white_box_full,
        questioned,
        signs,
        points,
        rows,
    )


@dataclass(frozen=True)
class _Run:
    """An attack on one model.

    Args:
        name: unique among the attacks of one outcome.
        attack: the attack.
        source: the model that points are crafted on.
        on: that model's name; empty for the small model itself.
        held: whether the attacker holds the small model.
    """

    name: str
    attack: TransferAttack
    source: nn.Module
    on: str = ""
    held: bool = True


def _runs(
    small: nn.Module,
    x: Tensor,
    attackers: Mapping[str, TransferAttack] | None,
    made: Surrogates,
    *,
    climbing: bool,
) -> list[_Run]:
    """Return all attacks, those on the small model first, those without it last."""
    itself, others = attackers, attackers
    if itself is None or others is None:
        itself = adaptive_attackers(x) if climbing else query_attackers(x)
        others = surrogate_attackers(x)
    runs = [_Run(name, attack, small) for name, attack in itself.items()]
    for held, models in ((True, made.held), (False, made.own)):
        for on, model in models.items():
            runs += [_Run(f"{n} on {on}", a, model, on, held) for n, a in others.items()]
    names = [run.name for run in runs]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(
            f"transfer: '{twice[0]}' names two attackers, one of them on a surrogate; give the "
            "attacker or the surrogate another name."
        )
    return runs


def _fooled_by(
    attack: TransferAttack, model: nn.Module, x: Tensor, labels: Tensor, *, ball: Ball, seed: int
) -> float:
    """Return the fraction of rows on which a model is fooled by points crafted on itself."""
    crafted = craft(attack, model, x, labels, ball=ball, seed=seed)
    return float((_logits(model, crafted).argmax(1) != labels).double().mean())


def right_on_both(full: nn.Module, small: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Return the positions of the rows that both models classify correctly, int64, ascending.

    Args:
        full: one model; takes `x`.
        small: the other; takes `x`, too.
        x: rows, float (n, …).
        labels: int64 (n,), the true classes.

    Raises:
        UndecidableError: when there is no such row.
    """
    both = (_logits(full, x).argmax(1) == labels) & (_logits(small, x).argmax(1) == labels)
    if not bool(both.any()):
        raise UndecidableError(
            f"none of {len(x)} rows is classified rightly by both models; there is nothing to fool."
        )
    return both.nonzero().squeeze(1)


def drawn_targets(labels: Tensor, classes: int, *, seed: int) -> Tensor:
    """Return a random class other than the label for each row, int64 (n,).

    Args:
        labels: int64 (n,), the true classes.
        classes: number of classes, at least 2.
        seed: seed of the draw.
    """
    draw = generator(seed, "targets")
    return (labels + torch.randint(1, classes, labels.shape, generator=draw)) % classes


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return a model's logits on units, float32 (n, classes), on the CPU."""
    nothing = torch.zeros(len(x), dtype=torch.int64)
    return predict(model, Rows(x, nothing, nothing)).logits
