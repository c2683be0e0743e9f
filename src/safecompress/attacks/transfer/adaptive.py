"""`transferred`: how often points crafted on a small model fool the full model.

`retrained` makes a copy of the small model that undoes a defense, as an adaptive attacker would.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from safecompress.attacks.transfer.craft import craft
from safecompress.attacks.transfer.diverse import DiverseInputs
from safecompress.attacks.transfer.gradients import gives_gradients
from safecompress.attacks.transfer.momentum import MomentumFgsm
from safecompress.attacks.transfer.pgd import Pgd
from safecompress.attacks.transfer.query_transfer import QueryTransfer
from safecompress.attacks.transfer.rgf import Rgf
from safecompress.attacks.transfer.square import Square
from safecompress.errors import ConfigError, UndecidableError
from safecompress.models.adapt import adapt
from safecompress.protocols import Ball, Rows, TransferAttack
from safecompress.randomness import generator, seeded
from safecompress.stats import Interval, clopper_pearson, corrected_level
from safecompress.train.predict import predict

WHITE_BOX = Pgd(steps=50, restarts=2, loss="margin", early_stop=True)
"""The white-box attack that measures how often a model can be fooled at all."""
MASKED_BELOW = 0.5
"""Largest ratio of white-box PGD's success on the small and on the full model at which the small
model is considered to mask its gradients."""
QUESTIONED = 50
"""Number of rows on which a query attack measures how often the small model can be fooled, where
the full model has no gradients."""

_IMAGE_DIMENSIONS = 4


def adaptive_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the gradient attacks to run, by name; those on images only where inputs are images.

    Args:
        x: rows, float (n, …); only the number of dimensions is used.
    """
    attackers: dict[str, TransferAttack] = {
        "pgd-10": Pgd(steps=10),
        "pgd-50 restarts": Pgd(steps=50, restarts=3, random_start=True),
        "mi-fgsm": MomentumFgsm(steps=10),
        "margin": Pgd(steps=20, loss="margin"),
    }
    if x.ndim == _IMAGE_DIMENSIONS:
        attackers["di-fgsm"] = DiverseInputs(steps=20)
    return attackers


def query_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the attacks to run on a small model without gradients, by name.

    Args:
        x: rows, float (n, …); only the number of dimensions is used.
    """
    attackers: dict[str, TransferAttack] = {"rgf on itself": QueryTransfer(Rgf())}
    if x.ndim == _IMAGE_DIMENSIONS:
        attackers["square on itself"] = QueryTransfer(Square())
    return attackers


@dataclass(frozen=True)
class TransferOutcome:
    """The effect on the full model of points crafted on a small model.

    Args:
        fooled: by the attack's name, bool (n,): whether its point fools the full model, for the n
            rows that both models classify correctly.
        white_box: fraction of these rows on which white-box PGD fools the small model, in [0, 1];
            None where the small model has no gradients.
        white_box_full: the same fraction for the full model; None where it has no gradients.
        questioned: fraction of the first rows on which a query attack fools the small model, in
            [0, 1]; measured only where the small model has gradients and the full one has none,
            else None.
        points: the points of the strongest attack, float (n, …), in units.
        rows: positions of the n rows among those given, int64 (n,).
    """

    fooled: Mapping[str, Tensor]
    white_box: float | None
    white_box_full: float | None
    questioned: float | None
    points: Tensor = field(repr=False)
    rows: Tensor = field(repr=False)

    @cached_property
    def worst(self) -> str:
        """Name of the attack that fools the full model most often."""
        return max(self.fooled, key=lambda name: float(self.fooled[name].double().mean()))

    @property
    def masked(self) -> bool:
        """Whether the small model masks its gradients, so that a low rate proves nothing.

        This is assumed when white-box PGD fools the small model less than half as often as it fools
        the full model, or, if the full model has no gradients, less than half as often as a query
        attack fools the small model. That query attacks beat gradient attacks is the usual sign of
        masking (Athalye et al., ICML 2018, section 3.1). A small model without gradients does not
        mask any.
        """
        expected = self.questioned if self.white_box_full is None else self.white_box_full
        return self.white_box is not None and self.white_box < MASKED_BELOW * (expected or 0.0)

    @property
    def partial(self) -> bool:
        """Whether the rate is only a lower bound, because the small model has no gradients.

        An attacker who holds an exported graph can rebuild the network from it and then has
        gradients.
        """
        return self.white_box is None

    def rate(self, *, level: float) -> Interval:
        """Return the fraction of rows that the strongest attack fools, with its interval.

        The upper bound is the highest of all attacks' Clopper–Pearson bounds, which is at least
        that of the truly strongest attack. The lower bound is the highest lower bound at a level
        corrected for the number of attacks.

        Args:
            level: confidence level of the interval, in (0, 1).
        """
        counts = {name: (int(f.sum()), len(f)) for name, f in self.fooled.items()}
        corrected = corrected_level(level, len(counts))
        high = max(clopper_pearson(k, n, level=level).high for k, n in counts.values())
        low = max(clopper_pearson(k, n, level=corrected).low for k, n in counts.values())
        k, n = counts[self.worst]
        return Interval(k / n, min(low, k / n), high)


def transferred(
    full: nn.Module,
    small: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    ball: Ball,
    seed: int,
    attackers: Mapping[str, TransferAttack] | None = None,
    surrogates: Mapping[str, nn.Module] | None = None,
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
        attackers: the attacks to run, by name; None is `adaptive_attackers`, or `query_attackers`
            where the small model has no gradients.
        surrogates: models that the attacker derived from the small one, by name; every attack also
            crafts on each of them.
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
    if attackers is None:
        attackers = adaptive_attackers(x) if small_gradients else query_attackers(x)
    sources = {"": small} | {f" on {name}": model for name, model in (surrogates or {}).items()}
    names = [name + suffix for suffix in sources for name in attackers]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(
            f"transfer: '{twice[0]}' names two attackers, one of them on a surrogate; give the "
            "attacker or the surrogate another name."
        )
    fooled, best, points = {}, -1.0, x
    for suffix, source in sources.items():
        for name, attack in attackers.items():
            crafted = craft(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
            predicted = _logits(full, crafted).argmax(1)
            hit = predicted != labels if targets is None else predicted == targets
            fooled[name + suffix] = hit
            if (rate := float(hit.double().mean())) > best:
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
    return TransferOutcome(fooled, white_box, white_box_full, questioned, points, rows)


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


def retrained(
    small: nn.Module,
    rows: Rows,
    x: Tensor,
    *,
    epochs: int,
    seed: int,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    temperature: float = 1.0,
) -> nn.Module:
    """Return a copy of a small model after further training, which may undo a defense.

    The loss is the mean of the cross-entropy with the true labels and the divergence from the small
    model's own outputs.

    Args:
        small: the model to copy; it is not changed and takes `x`.
        rows: n rows that the attacker has; only their labels are used.
        x: the same rows as the model takes them, float (n, …).
        epochs: number of passes over the rows, at least 1; with many epochs the copy becomes a
            model of its own.
        seed: seed of the order of the batches and of dropout.
        learning_rate: step size of Adam.
        batch_size: number of rows in a step.
        temperature: divides the logits in the divergence, > 0.

    Raises:
        ConfigError: on fewer than one epoch.
    """
    if epochs < 1:
        raise ConfigError(f"epochs is {epochs}; expected at least 1.")
    device = next(small.parameters()).device
    student = copy.deepcopy(small)
    for parameter in student.parameters():
        parameter.requires_grad_()
    soft_labels = log_softmax(_logits(small, x) / temperature, dim=1)
    optimizer = torch.optim.Adam(student.parameters(), learning_rate)
    with seeded(seed, "retrained"), torch.enable_grad():
        student.train()
        for epoch in range(epochs):
            order = torch.randperm(len(x), generator=generator(seed, "retrained", epoch))
            for index in torch.split(order, batch_size):
                if len(index) < 2 < len(x):
                    # Batch normalization cannot train on a batch of one row.
                    continue
                logits = adapt(student(x[index].to(device)))
                hard = cross_entropy(logits, rows.labels[index].to(device))
                soft = kl_div(
                    log_softmax(logits / temperature, dim=1),
                    soft_labels[index].to(device),
                    log_target=True,
                    reduction="batchmean",
                )
                optimizer.zero_grad()
                loss = (hard + temperature**2 * soft) / 2
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return student.eval()


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return a model's logits on units, float32 (n, classes), on the CPU."""
    nothing = torch.zeros(len(x), dtype=torch.int64)
    return predict(model, Rows(x, nothing, nothing)).logits
