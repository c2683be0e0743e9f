"""Laws of training side by side: every network ends in the bits in which it ends alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safecompress.candidate import Candidate, SoftTarget
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import NonFiniteError
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import Task, Trainer, train_side_by_side
from safecompress.train.perceptrons import Perceptrons
from tests.support import count

ROWS = 60


def perceptron(features: int, hidden: tuple[int, ...], classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(features, width), nn.ReLU()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, classes))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 2),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(8, 3),
    )


def wide() -> nn.Module:
    """A network whose middle layer computes with its existing weights alone where few exist."""
    return nn.Sequential(nn.Linear(6, 256), nn.ReLU(), nn.Linear(256, 256), nn.Linear(256, 3))


def made(make: Callable[[], nn.Module], number: int, **changes: Any) -> Trainer:
    """Return a trainer of a network, rows and batches of its own."""
    draw = torch.Generator().manual_seed(number)
    with torch.random.fork_rng():
        torch.manual_seed(number)
        module = make()
    first = next(m for m in module.modules() if isinstance(m, nn.Linear))
    features = first.in_features if isinstance(module[0], nn.Linear) else 6
    classes = [m for m in module.modules() if isinstance(m, nn.Linear)][-1].out_features
    x = torch.randn(ROWS, features, generator=draw)
    given_settings = {"epochs": 10, "lr": 0.05, "batch_size": 20, "precision": "32-true"}
    return Trainer(
        module,
        Rows(x, torch.randint(classes, (ROWS,), generator=draw), torch.arange(ROWS)),
        TrainConfig(**(given_settings | changes)),
        seed=number,
        engine=EngineConfig(accelerator="cpu"),
        soft_labels=torch.softmax(torch.randn(ROWS, classes, generator=draw), 1),
    )


def begun(trainer: Trainer, number: int, density: float, soft: float) -> Candidate:
    """Return a candidate with a mask, a target and an optimizer state of its own."""
    draw = torch.Generator().manual_seed(100 + number)
    masks = {
        name: torch.rand(p.shape, generator=draw) < density
        for name, p in trainer.module.named_parameters()
        if p.ndim > 1
    }
    start = trainer.start(Topology(masks)).evolve(soft_target=SoftTarget(soft, 2.0))
    return trainer.train(start, 2)


def assert_same(one: Any, other: Any) -> None:
    assert isinstance(one, Candidate)
    assert isinstance(other, Candidate)
    assert one.step == other.step
    first, second = one.tensors(), other.tensors()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def check(trainers: list[Trainer], parents: list[Candidate], steps: int) -> None:
    """Assert that no grouping of these changes a bit."""
    alone = [t.train(p, steps) for t, p in zip(trainers, parents, strict=True)]
    tasks = [Task(t, p, steps) for t, p in zip(trainers, parents, strict=True)]
    for group in (tasks, tasks[::-1], tasks[1:]):
        for task, trained in zip(group, train_side_by_side(group), strict=True):
            assert_same(trained, alone[tasks.index(task)])
    first = train_side_by_side([Task(t.trainer, t.candidate, 1) for t in tasks])
    rest = [
        Task(t.trainer, c, steps - 1)
        for t, c in zip(tasks, first, strict=True)
        if isinstance(c, Candidate)
    ]
    for trained, one in zip(train_side_by_side(rest), alone, strict=True):
        assert_same(trained, one)


@settings(max_examples=count(8, 300), deadline=None)
@given(
    features=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 70), max_size=2),
    classes=st.integers(2, 20),
    size=st.integers(1, ROWS),
    networks=st.integers(2, 4),
    density=st.sampled_from([0.3, 1.0]),
    soft=st.sampled_from([0.0, 0.7, 1.0]),
    optimizer=st.sampled_from(["sgd", "adamw"]),
)
def test_perceptrons_of_any_shape_end_as_alone(
    features: int,
    hidden: list[int],
    classes: int,
    size: int,
    networks: int,
    density: float,
    soft: float,
    optimizer: str,
) -> None:
    def make() -> nn.Module:
        return perceptron(features, tuple(hidden), classes)

    trainers = [made(make, k, batch_size=size, optimizer=optimizer) for k in range(networks)]
    parents = [begun(t, k, density, soft) for k, t in enumerate(trainers)]
    ways = [t.begin(p, 1) for t, p in zip(trainers, parents, strict=True)]
    assert Perceptrons.of(ways) is not None
    check(trainers, parents, 4)


@pytest.mark.parametrize(("make", "density"), [(convolutional, 0.5), (wide, 0.05), (wide, 0.5)])
def test_networks_of_any_kind_end_as_alone(make: Callable[[], nn.Module], density: float) -> None:
    trainers = [made(make, k) for k in range(3)]
    parents = [begun(t, k, density, 0.5 * k) for k, t in enumerate(trainers)]
    check(trainers, parents, 5)


def test_one_that_diverges_leaves_the_others_alone() -> None:
    trainers = [made(lambda: perceptron(6, (8,), 3), k) for k in range(3)]
    parents = [begun(t, k, 1.0, 0.0) for k, t in enumerate(trainers)]
    name = next(iter(parents[1].weights))
    broken = parents[1].evolve(
        weights={**parents[1].weights, name: parents[1].weights[name] * 1e38}
    )
    alone = [trainers[k].train(parents[k], 6) for k in (0, 2)]
    tasks = [Task(t, broken if k == 1 else parents[k], 6) for k, t in enumerate(trainers)]
    found = train_side_by_side(tasks)
    assert isinstance(found[1], NonFiniteError)
    assert_same(found[0], alone[0])
    assert_same(found[2], alone[1])


def test_candidates_at_other_steps_and_of_one_module_are_trained_too() -> None:
    one, other = (made(lambda: perceptron(6, (8,), 3), k) for k in range(2))
    parents = [begun(one, 0, 1.0, 0.0), begun(other, 1, 1.0, 0.0)]
    later = one.train(parents[0], 3)
    tasks = [Task(one, parents[0], 4), Task(one, later, 4), Task(other, parents[1], 2)]
    alone = [t.trainer.train(t.candidate, t.steps) for t in tasks]
    for trained, expected in zip(train_side_by_side(tasks), alone, strict=True):
        assert_same(trained, expected)
