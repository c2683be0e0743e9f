"""The attacker who adapts: gradient attacks on the small model, and on a copy he retrained."""

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
from safecompress.stats import Interval, clopper_pearson
from safecompress.train.predict import predict

WHITE_BOX = Pgd(steps=50, restarts=2, loss="margin", early_stop=True)
"""Who asks whether the small model itself can be fooled."""
MASKED_BELOW = 0.5
"""A small model that white-box PGD fools less than half as often as the full one is taken to hide
its gradients."""
QUESTIONED = 50
"""Rows on which questions say whether the small model can be fooled, where the full one has no
gradients."""

_IMAGE_DIMENSIONS = 4


def adaptive_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the attackers by name; who changes images joins only where the inputs are images."""
    found: dict[str, TransferAttack] = {
        "pgd-10": Pgd(steps=10),
        "pgd-50 restarts": Pgd(steps=50, restarts=3, random_start=True),
        "mi-fgsm": MomentumFgsm(steps=10),
        "margin": Pgd(steps=20, loss="margin"),
    }
    if x.ndim == _IMAGE_DIMENSIONS:
        found["di-fgsm"] = DiverseInputs(steps=20)
    return found


def questioning_attackers(x: Tensor) -> dict[str, TransferAttack]:
    """Return the attackers that need no gradients of the model in hand, by name."""
    found: dict[str, TransferAttack] = {"rgf on itself": QueryTransfer(Rgf())}
    if x.ndim == _IMAGE_DIMENSIONS:
        found["square on itself"] = QueryTransfer(Square())
    return found


@dataclass(frozen=True)
class TransferOutcome:
    """What points crafted on a small model do to the full one.

    Args:
        fooled: per attacker a bool (n,), whether its point fools the full model, of the n rows that
            both models get right.
        white_box: share of these rows on which white-box PGD fools the small model, in [0, 1]; None
            where it gives no gradients.
        white_box_full: the same of the full model, None likewise.
        questioned: share of the first rows on which questions alone fool the small model; None
            where both models give gradients, or the small one does not.
        points: the points of the strongest attacker, (n, …), in units.
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
        """Name of the attacker that fools the full model most often."""
        return max(self.fooled, key=lambda name: float(self.fooled[name].double().mean()))

    @property
    def masked(self) -> bool:
        """Whether the small model hides its gradients, so that a low rate means nothing.

        PGD then fools it less than half as often as it fools the full model; or, of a full model
        that only answers, as questions fool the small one, which is the usual sign (Athalye et al.,
        ICML 2018, section 3.1). A model without gradients hides none.
        """
        known = self.questioned if self.white_box_full is None else self.white_box_full
        return self.white_box is not None and self.white_box < MASKED_BELOW * (known or 0.0)

    @property
    def partial(self) -> bool:
        """Whether the rate is a lower bound only: the attacker had no gradients to climb.

        He who holds a graph can rebuild the network from it, and has them.
        """
        return self.white_box is None

    def rate(self, *, level: float) -> Interval:
        """Return the strongest attacker's share of fooled rows with its interval.

        The upper bound is the highest of the attackers' Clopper–Pearson bounds: the strongest one's
        is among them. The lower is the highest of theirs at a level corrected for their number.
        """
        counts = {name: (int(f.sum()), len(f)) for name, f in self.fooled.items()}
        corrected = 1 - (1 - level) / len(counts)
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
    """Craft points on a small model and send them to the full one, once by every attacker.

    Args:
        full: the model attacked; takes `x`, as `small` does. It is only asked, but for the question
            whether white-box PGD fools it, which is left out where it gives no gradients.
        small: the model the attacker holds.
        x: rows in units, or as points of their space, float (n, …).
        labels: int64 (n,).
        ball: what may be sent in a row's place.
        seed: of everything random, targets included.
        attackers: by name; None is `adaptive_attackers`, or `questioning_attackers` where the small
            model gives no gradients.
        surrogates: models that the attacker made of the small one, by name; every attacker crafts
            on them, too.
        targeted: whether the full model must take a row for a class drawn at random.

    Raises:
        UndecidableError: when there is no row that both models get right.
        ConfigError: when an attacker and a surrogate together are called like another attacker.
    """
    rows = right_on_both(full, small, x, labels)
    x, labels = x[rows], labels[rows]
    classes = _said(full, x[:1]).shape[1]
    targets = drawn_targets(labels, classes, seed=seed) if targeted else None
    climbs, climbs_full = gives_gradients(small, x), gives_gradients(full, x)
    if attackers is None:
        attackers = adaptive_attackers(x) if climbs else questioning_attackers(x)
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
            found = craft(attack, source, x, labels, ball=ball, seed=seed, targets=targets)
            said = _said(full, found).argmax(1)
            hit = said != labels if targets is None else said == targets
            fooled[name + suffix] = hit
            if (rate := float(hit.double().mean())) > best:
                best, points = rate, found
    inside, inside_full = (
        _fooled_by(WHITE_BOX, model, x, labels, ball=ball, seed=seed) if able else None
        for model, able in ((small, climbs), (full, climbs_full))
    )
    questioned = None
    if climbs and not climbs_full:
        few = slice(QUESTIONED)
        asking = QueryTransfer(Rgf())
        questioned = _fooled_by(asking, small, x[few], labels[few], ball=ball, seed=seed)
    return TransferOutcome(fooled, inside, inside_full, questioned, points, rows)


def _fooled_by(
    attack: TransferAttack, model: nn.Module, x: Tensor, labels: Tensor, *, ball: Ball, seed: int
) -> float:
    """Return the share of rows on which a model is fooled by points crafted on itself."""
    found = craft(attack, model, x, labels, ball=ball, seed=seed)
    return float((_said(model, found).argmax(1) != labels).double().mean())


def right_on_both(full: nn.Module, small: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Return the positions of the rows that both models get right, int64.

    Raises:
        UndecidableError: when there is none.
    """
    both = (_said(full, x).argmax(1) == labels) & (_said(small, x).argmax(1) == labels)
    if not bool(both.any()):
        raise UndecidableError(
            f"none of {len(x)} rows is classified rightly by both models; there is nothing to fool."
        )
    return both.nonzero().squeeze(1)


def drawn_targets(labels: Tensor, classes: int, *, seed: int) -> Tensor:
    """Return a random other class for each row, int64 (n,)."""
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
    """Return the copy of a small model that an attacker trained further, to undo a defense.

    Half of what it learns are the true labels, half what the small model says of the same rows.

    Args:
        small: left as it is; takes `x`.
        rows: what the attacker has; their labels are read.
        x: the same rows as the model takes them.
        epochs: passes over them, 1 to 5 in the tests; a longer training is a model of its own.
        seed: of the batches' order and dropout.
        learning_rate: of Adam.
        batch_size: rows a step.
        temperature: of the small model's answers.

    Raises:
        ConfigError: on fewer than one epoch.
    """
    if epochs < 1:
        raise ConfigError(f"epochs is {epochs}; expected at least 1.")
    device = next(small.parameters()).device
    made = copy.deepcopy(small)
    for parameter in made.parameters():
        parameter.requires_grad_()
    said = log_softmax(_said(small, x) / temperature, dim=1)
    optimizer = torch.optim.Adam(made.parameters(), learning_rate)
    with seeded(seed, "retrained"), torch.enable_grad():
        made.train()
        for epoch in range(epochs):
            order = torch.randperm(len(x), generator=generator(seed, "retrained", epoch))
            for index in torch.split(order, batch_size):
                if len(index) < 2 < len(x):
                    # A batch of one has no statistics to normalize by.
                    continue
                logits = adapt(made(x[index].to(device)))
                hard = cross_entropy(logits, rows.labels[index].to(device))
                soft = kl_div(
                    log_softmax(logits / temperature, dim=1),
                    said[index].to(device),
                    log_target=True,
                    reduction="batchmean",
                )
                optimizer.zero_grad()
                loss = (hard + temperature**2 * soft) / 2
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return made.eval()


def _said(model: nn.Module, x: Tensor) -> Tensor:
    """Return a model's logits on units, float32, on the CPU."""
    nothing = torch.zeros(len(x), dtype=torch.int64)
    return predict(model, Rows(x, nothing, nothing)).logits
