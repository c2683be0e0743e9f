"""A small problem for the contract of defenses: rows, a network, and a trainer of both.

The rows are four clusters, so noisy that a network of 64 hidden units memorizes 100 members. The
effect of a defense on training therefore shows within a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.config import EngineConfig, TrainConfig
from safecompress.protocols import Defense, Rows
from safecompress.randomness import generator, seeded
from safecompress.topology import Topology
from safecompress.train import Trainer

CLASSES, WIDTH, MEMBERS = 4, 30, 100
EPOCHS = 40
CONFIG = TrainConfig(
    epochs=EPOCHS, batch_size=50, lr=0.1, precision="32-true", memory_format="contiguous"
)
STEPS = EPOCHS * 2
ENGINE = EngineConfig(accelerator="cpu")


def toy(seed: int) -> dict[str, Rows]:
    """Return rows of four noisy clusters: members, reference, validation and fresh rows.

    Args:
        seed: seed of the clusters and the rows.

    Returns:
        100 members and 600 rows of each other group, float32 (n, 30), by the group's name.
    """
    source = generator(seed, "toy")
    centers = torch.randn(CLASSES, WIDTH, generator=source) * 0.4

    def rows(n: int, first: int) -> Rows:
        labels = torch.randint(CLASSES, (n,), generator=source)
        inputs = centers[labels] + torch.randn(n, WIDTH, generator=source)
        return Rows(inputs, labels, torch.arange(first, first + n))

    names = ("members", "reference", "validation", "fresh")
    return {n: rows(MEMBERS if n == "members" else 600, 1000 * i) for i, n in enumerate(names)}


def soft_labels(seed: int, number: int = 0) -> Tensor:
    """Return what imagined teachers say of the members, float32 (100, 4).

    Args:
        seed: seed of the members.
        number: another number is other teachers.
    """
    return torch.rand(MEMBERS, CLASSES, generator=generator(seed, "labels", number)).softmax(1)


def network(seed: int) -> nn.Sequential:
    """Return the untrained network.

    Args:
        seed: seed of its weights.
    """
    with seeded(seed, "toy"):
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def trainer(
    seed: int,
    defenses: Sequence[Defense] = (),
    *,
    dense: nn.Module | None = None,
    soft_labels: Tensor | None = None,
    members: Rows | None = None,
    **changes: Any,
) -> Trainer:
    """Return a trainer of the network on the members.

    Args:
        seed: seed of the rows, the network and the training.
        defenses: changes to training.
        dense: the finished dense model, for defenses that need it.
        soft_labels: class probabilities of the members, float32 (n, 4); None without any.
        members: rows to train on instead of the hundred of `toy`.
        **changes: fields of the training configuration that differ from `CONFIG`.
    """
    rows = toy(seed)
    return Trainer(
        network(seed),
        rows["members"] if members is None else members,
        CONFIG.model_copy(update=changes),
        seed=seed,
        engine=ENGINE,
        defenses=defenses,
        reference=rows["reference"] if any(d.needs_reference for d in defenses) else None,
        validation=rows["validation"],
        dense=dense,
        soft_labels=soft_labels,
    )


def sparse_topology(module: nn.Module, density: float = 0.3) -> Topology:
    """Return random masks.

    Args:
        module: the network; its maskable parameters are masked.
        density: about the share of every layer's weights that exist, in (0, 1].
    """
    source = generator(0, "mask")
    return Topology(
        {
            name: torch.rand(mask.shape, generator=source) < density
            for name, mask in Topology.dense(module).masks.items()
        }
    )


def finished(seed: int) -> nn.Module:
    """Return the network after training without any defense, in evaluation mode.

    Args:
        seed: seed of the rows, the network and the training.
    """
    model = network(seed)
    model.load_state_dict(dict(_finished(seed)))
    return model.eval()


@cache
def _finished(seed: int) -> Mapping[str, Tensor]:
    """Return its weights; a contract asks for them a dozen times."""
    plain = trainer(seed)
    return plain.train(plain.start(), STEPS).weights


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Return whether two mappings have equal tensors under the same names.

    Args:
        left: tensors by name.
        right: tensors by name.
    """
    return left.keys() == right.keys() and all(torch.equal(v, right[k]) for k, v in left.items())
