"""The neural attack of the published framework, rebuilt from its description as a yardstick."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from safecompress.attacks.network import in_id_order
from safecompress.errors import ConfigError
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import permutation, seeded

_SCORE_ROWS = 4096


class PublishedNetwork(nn.Module):
    """Softmax branch C-1024-512-64, label branch C-512-64, fused 128-256-64-1."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.prediction = _stack(classes, 1024, 512, 64)
        self.label = _stack(classes, 512, 64)
        self.fused = nn.Sequential(_stack(128, 256, 64), nn.Linear(64, 1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the logit of "member", (n,)."""
        branches = (
            self.prediction(torch.softmax(logits, dim=1)),
            self.label(one_hot(labels, self.classes).to(logits.dtype)),
        )
        fused: Tensor = self.fused(torch.cat(branches, dim=1))
        return fused.squeeze(1)


def _stack(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class PublishedNeuralAttack(Attack):
    """A two-branch network on the softmax and the one-hot label, batches half members.

    The published code keeps the epoch that is best on the rows it is judged on. Here the epoch is
    chosen on a cut of the fit half, so the judged half stays unseen.

    Args:
        epochs: passes over the larger group; the smaller one is repeated.
        batch_size: rows a step, half of them members; even.
        learning_rate: of Adam.
        validation: share of the fit half that chooses the epoch, in [0, 1); 0 keeps the last.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Zhu et al., Safety and Performance, Why not Both?, ASE 2022 (arXiv 2208.05969).
    """

    name: ClassVar[str] = "neural-published"
    learns: ClassVar[bool] = True

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

    @torch.enable_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> PublishedNetwork:
        """Learn to tell the fit half's members from its non-members."""
        groups = known.map(lambda e: in_id_order(e.outputs))
        learning, validation = self._cut(groups, seed=seed)
        with seeded(seed, "attack", self.name):
            network = PublishedNetwork(groups.members.classes)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        best, kept = math.inf, copy.deepcopy(network.state_dict())
        for epoch in range(self.epochs):
            self._epoch_(network, optimizer, learning, epoch=epoch, seed=seed)
            if validation is None:
                continue
            with torch.no_grad():
                value = float(_balanced_loss(network, validation.members, validation.nonmembers))
            if value < best:
                best, kept = value, copy.deepcopy(network.state_dict())
        if validation is not None:
            network.load_state_dict(kept)
        return network

    @torch.no_grad()
    def score(self, fitted: PublishedNetwork, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,)."""
        outputs = evidence.outputs
        blocks = zip(
            torch.split(outputs.logits, _SCORE_ROWS),
            torch.split(outputs.labels, _SCORE_ROWS),
            strict=True,
        )
        return torch.cat([fitted(logits.float(), labels).double() for logits, labels in blocks])

    def _cut(
        self, groups: Pool[Outputs], *, seed: int
    ) -> tuple[Pool[Outputs], Pool[Outputs] | None]:
        """Return the rows to learn on and those that choose the epoch, None where too few."""
        held = groups.map(lambda o: int(self.validation * len(o)))
        if not held.members or not held.nonmembers:
            return groups, None
        names = Pool("members", "nonmembers")
        order = groups.zip(names, lambda o, n: permutation(len(o), seed, "attack", self.name, n))
        cut = order.zip(held, lambda index, k: (index[k:], index[:k]))
        return (
            groups.zip(cut, lambda o, parts: o.take(parts[0])),
            groups.zip(cut, lambda o, parts: o.take(parts[1])),
        )

    def _epoch_(
        self,
        network: PublishedNetwork,
        optimizer: torch.optim.Optimizer,
        learning: Pool[Outputs],
        *,
        epoch: int,
        seed: int,
    ) -> None:
        half = self.batch_size // 2
        longest = max(len(learning.members), len(learning.nonmembers))
        batches = [
            torch.split(_repeated(len(o), longest, seed=seed, name=f"{side}-{epoch}"), half)
            for o, side in ((learning.members, "members"), (learning.nonmembers, "nonmembers"))
        ]
        for members, nonmembers in zip(*batches, strict=True):
            optimizer.zero_grad()
            _balanced_loss(
                network, learning.members.take(members), learning.nonmembers.take(nonmembers)
            ).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _repeated(n: int, total: int, *, seed: int, name: str) -> Tensor:
    """Return `total` indices of n rows: one random order after another."""
    rounds = range(math.ceil(total / n))
    orders = [permutation(n, seed, "attack", "neural-published", name, r) for r in rounds]
    return torch.cat(orders)[:total]


def _balanced_loss(network: PublishedNetwork, members: Outputs, nonmembers: Outputs) -> Tensor:
    """Return the mean of both groups' binary cross-entropies, so that their sizes do not matter."""
    logits = torch.cat([members.logits, nonmembers.logits]).float()
    said: Tensor = network(logits, torch.cat([members.labels, nonmembers.labels]))
    n = len(members)
    return 0.5 * (softplus(-said[:n]).mean() + softplus(said[n:]).mean())
