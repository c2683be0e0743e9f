"""What a defense does to the toy of the contract, measured."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.candidate import Candidate
from safecompress.defenses import DEFENSES, imagined
from safecompress.defenses.imagined import (
    CLASSES,
    CONFIG,
    MEMBERS,
    STEPS,
    WIDTH,
    network,
    sparse_topology,
    toy,
)
from safecompress.protocols import Defense, Rows
from safecompress.train import Trainer

__all__ = [
    "CLASSES",
    "CONFIG",
    "MEMBERS",
    "ON",
    "STEPS",
    "WIDTH",
    "built",
    "dense",
    "loss_auc",
    "loss_gap",
    "losses",
    "network",
    "sparse_topology",
    "toy",
    "trained",
    "trainer",
]


ON: dict[str, dict[str, Any]] = {
    "adversarial": {"weight": 10.0, "start": 0.0, "attacker_steps": 3},
    "label-smoothing": {"share": 0.5},
    "entropy": {"weight": 1.0},
    "relax-loss": {"target": 0.8},
    "ppb": {"weight": 16.0},
    "hamp": {"entropy": 0.8, "weight": 0.1},
    "past": {"weight": 0.01},
    "wemem": {"window": 0.5, "weight": 0.2},
    "dropout": {"rate": 0.9},
    "early-stopping": {"looks": 20},
    "distillation": {"rows": "reference"},
    "dp-sgd": {"noise": 1.0, "clip": 1.0},
    "unpairing": {"weight": 1.0},
}
"""Options under which every registered defense shows on the toy."""


def trainer(seed: int, defenses: Sequence[Defense] = (), **changes: Any) -> Trainer:
    """Return a trainer of the toy, with the dense model where a defense asks for it."""
    asks_dense = any(d.needs_dense for d in defenses)
    model = dense(seed) if asks_dense else None
    asks_teachers = any(d.needs_soft_labels for d in defenses)
    labels = imagined.soft_labels(seed) if asks_teachers else None
    return imagined.trainer(seed, defenses, dense=model, soft_labels=labels, **changes)


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
