"""A toy that overfits, and how it is trained with a defense."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.defenses import DEFENSES
from safecompress.protocols import Defense, Rows
from safecompress.randomness import generator, seeded
from safecompress.topology import Topology
from safecompress.train import Trainer

CLASSES, WIDTH, MEMBERS = 4, 30, 100
CONFIG = TrainConfig(
    epochs=40, batch_size=50, lr=0.1, precision="32-true", memory_format="contiguous"
)
STEPS = 40 * 2
ENGINE = EngineConfig(accelerator="cpu")


@cache
def toy(seed: int) -> dict[str, Rows]:
    """Return members, reference, validation and fresh rows of four noisy clusters."""
    source = generator(seed, "toy")
    centers = torch.randn(CLASSES, WIDTH, generator=source) * 0.4

    def rows(n: int, first: int) -> Rows:
        labels = torch.randint(CLASSES, (n,), generator=source)
        inputs = centers[labels] + torch.randn(n, WIDTH, generator=source)
        return Rows(inputs, labels, torch.arange(first, first + n))

    names = ("members", "reference", "validation", "fresh")
    return {n: rows(MEMBERS if n == "members" else 600, 1000 * i) for i, n in enumerate(names)}


def network(seed: int) -> nn.Sequential:
    with seeded(seed, "toy"):
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def trainer(seed: int, defenses: Sequence[Defense] = (), **changes: Any) -> Trainer:
    """Return a trainer of the toy with everything a defense may ask for."""
    rows = toy(seed)
    asks_dense = any(d.needs_dense for d in defenses)
    return Trainer(
        network(seed),
        rows["members"],
        CONFIG.model_copy(update=changes),
        seed=seed,
        engine=ENGINE,
        defenses=defenses,
        reference=rows["reference"],
        validation=rows["validation"],
        dense=dense(seed) if asks_dense else None,
    )


def built(request: Any) -> Defense:
    return DEFENSES.build(request, where="test")


@cache
def trained(seed: int, name: str = "", options: tuple[tuple[str, Any], ...] = ()) -> Candidate:
    """Return the toy trained to its end, with a defense where one is named."""
    made = trainer(seed, [built({name: dict(options)})] if name else [])
    return made.train(made.start(), made.total_steps)


@cache
def _dense(seed: int) -> nn.Module:
    model = network(seed)
    model.load_state_dict(dict(trained(seed).weights))
    return model


def dense(seed: int) -> nn.Module:
    return copy.deepcopy(_dense(seed))


def losses(candidate: Candidate, rows: Rows) -> Tensor:
    """Return the loss of every row, (n,)."""
    model = network(0)
    model.load_state_dict(dict(candidate.weights))
    with torch.no_grad():
        return cross_entropy(model(rows.inputs), rows.labels, reduction="none")


def loss_auc(candidate: Candidate, seed: int) -> float:
    """Return how often a member's loss is below a fresh row's."""
    members, fresh = (losses(candidate, toy(seed)[k]) for k in ("members", "fresh"))
    below = (members[:, None] < fresh[None, :]).double()
    return float((below + 0.5 * (members[:, None] == fresh[None, :])).mean())


def loss_gap(candidate: Candidate, seed: int) -> float:
    """Return by how much the mean loss of fresh rows is above the members'."""
    members, fresh = (losses(candidate, toy(seed)[k]) for k in ("members", "fresh"))
    return float(fresh.mean() - members.mean())


def sparse_topology(module: nn.Module, density: float = 0.3) -> Topology:
    source = generator(0, "mask")
    return Topology(
        {
            name: torch.rand(mask.shape, generator=source) < density
            for name, mask in Topology.dense(module).masks.items()
        }
    )
