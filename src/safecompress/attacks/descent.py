"""`DescendingAttack`: an attack network trained by Adam on batches with half members."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from safecompress.attacks.network import in_id_order
from safecompress.errors import ConfigError
from safecompress.protocols import Attack, Evidence, Pool
from safecompress.randomness import permutation, seeded

_SCORE_ROWS = 1024

Columns: TypeAlias = tuple[Tensor, ...]
"""A network's positional arguments for some rows, with one leading index per row."""


class Trained(NamedTuple):
    """What such an attack has learned.

    Args:
        network: the trained network, in evaluation mode.
        read: makes the network's arguments of evidence.
    """

    network: nn.Module
    read: Callable[[Evidence], Columns]


@dataclass(frozen=True)
class DescendingAttack(Attack):
    """A network trained by gradient descent; authors write `network` and `columns`.

    Args:
        epochs: number of passes over the larger group; the smaller one is repeated.
        batch_size: number of rows in a step, half of them members; even.
        learning_rate: step size of Adam, in (0, 1).
        validation: fraction of the fit half held out to choose the epoch, in [0, 1); 0 keeps the
            last epoch.

    Raises:
        ConfigError: when an option is out of range.
    """

    learns: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    validation: float = 0.2

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"epochs is {self.epochs}; expected at least 1.")
        if self.batch_size < 2 or self.batch_size % 2:
            raise ConfigError(f"batch_size is {self.batch_size}; expected an even number ≥ 2.")
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate is {self.learning_rate}; expected (0, 1).")
        if not 0 <= self.validation < 1:
            raise ConfigError(f"validation is {self.validation}; expected [0, 1).")

    @abstractmethod
    def network(self, classes: int) -> nn.Module:
        """Return the untrained network, which maps `columns` to the logit of "member", (n,).

        Args:
            classes: number of classes.
        """

    @abstractmethod
    def columns(self, evidence: Evidence) -> Columns:
        """Return the network's positional arguments.

        Args:
            evidence: what is known about n rows.
        """

    def reader(self, known: Pool[Evidence], *, seed: int) -> Callable[[Evidence], Columns]:
        """Return what makes columns of evidence; `columns`, unless that has something to learn.

        Args:
            known: evidence about the fit half's members and non-members, sorted by id.
            seed: seed of everything random.
        """
        del known, seed
        return self.columns

    def fit(self, known: Pool[Evidence], *, seed: int) -> Trained:
        """Return a network trained to tell members from non-members.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the initial weights, the held-out rows and the batches.
        """
        groups = known.map(in_id_order)
        read = self.reader(groups, seed=seed)
        classes = known.members.outputs.classes
        network = descend(lambda: self.network(classes), groups.map(read), self, seed=seed)
        return Trained(network, read)

    def score(self, fitted: Trained, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,).

        Args:
            fitted: what `fit` returned.
            evidence: what is known about n rows.
        """
        return member_logits(fitted.network, fitted.read(evidence))


@torch.enable_grad()
def descend(
    make: Callable[[], nn.Module], groups: Pool[Columns], options: DescendingAttack, *, seed: int
) -> nn.Module:
    """Return a network trained to tell members from non-members, in evaluation mode.

    Args:
        make: returns the untrained network, which returns the logit of "member", (n,).
        groups: the network's arguments for each group, sorted by id so that the result does not
            depend on the order of the rows.
        options: the attack whose training options are used.
        seed: seed of everything random.
    """
    learning, validation = _cut(groups, options, seed=seed)
    with seeded(seed, "attack", options.name):
        network = make()
        optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
        best, kept = math.inf, copy.deepcopy(network.state_dict())
        for epoch in range(options.epochs):
            network.train()
            for members, nonmembers in _batches(learning, options, epoch=epoch, seed=seed):
                optimizer.zero_grad()
                balanced_loss(network, members, nonmembers).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if validation is None:
                continue
            network.eval()
            with torch.no_grad():
                value = float(balanced_loss(network, validation.members, validation.nonmembers))
            if value < best:
                best, kept = value, copy.deepcopy(network.state_dict())
    if validation is not None:
        network.load_state_dict(kept)
    return network.eval()


@torch.no_grad()
def member_logits(network: nn.Module, columns: Columns) -> Tensor:
    """Return the logit of "member" of each row, float64 (n,), computed block by block.

    Args:
        network: a trained network, in evaluation mode.
        columns: its positional arguments for n rows.
    """
    blocks = zip(*(torch.split(column, _SCORE_ROWS) for column in columns), strict=True)
    return torch.cat([network(*block).double() for block in blocks])


def balanced_loss(network: nn.Module, members: Columns, nonmembers: Columns) -> Tensor:
    """Return the mean of the two groups' mean binary cross-entropies, a scalar in nats.

    Both groups have the same weight, whatever their sizes.

    Args:
        network: returns the logit of "member", (n,).
        members: its positional arguments for the members.
        nonmembers: its positional arguments for the non-members.
    """
    logits: Any = network(*(torch.cat(pair) for pair in zip(members, nonmembers, strict=True)))
    n = len(members[0])
    loss: Tensor = 0.5 * (softplus(-logits[:n]).mean() + softplus(logits[n:]).mean())
    return loss


def _taken(columns: Columns, index: Tensor) -> Columns:
    return tuple(column[index] for column in columns)


def _cut(
    groups: Pool[Columns], options: DescendingAttack, *, seed: int
) -> tuple[Pool[Columns], Pool[Columns] | None]:
    """Return the rows to learn on and those that choose the epoch, None where these are too few."""
    sizes = groups.map(lambda c: int(options.validation * len(c[0])))
    if not sizes.members or not sizes.nonmembers:
        return groups, None
    names = Pool("members", "nonmembers")
    order = groups.zip(names, lambda c, n: permutation(len(c[0]), seed, "attack", options.name, n))
    cut = order.zip(sizes, lambda index, k: (index[k:], index[:k]))
    return (
        groups.zip(cut, lambda c, parts: _taken(c, parts[0])),
        groups.zip(cut, lambda c, parts: _taken(c, parts[1])),
    )


def _batches(
    learning: Pool[Columns], options: DescendingAttack, *, epoch: int, seed: int
) -> list[tuple[Columns, Columns]]:
    half = options.batch_size // 2
    longest = max(len(learning.members[0]), len(learning.nonmembers[0]))

    def order(columns: Columns, side: str) -> tuple[Tensor, ...]:
        n = len(columns[0])
        names = ("attack", options.name, f"{side}-{epoch}")
        orders = [permutation(n, seed, *names, r) for r in range(math.ceil(longest / n))]
        return torch.split(torch.cat(orders)[:longest], half)

    pairs = zip(
        order(learning.members, "members"), order(learning.nonmembers, "nonmembers"), strict=True
    )
    return [(_taken(learning.members, a), _taken(learning.nonmembers, b)) for a, b in pairs]
