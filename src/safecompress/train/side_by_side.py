"""`Task`, `train_side_by_side`: candidates of several trainers, whose steps are taken in one.

A small network spends most of a step on what is done once a step, however large the network is.
Here every network computes its own loss, as alone, and then one backward pass and one step of the
optimizer serve all of them. Nothing is summed over networks and no sum is taken in another order,
so each ends in the bits in which it would have ended alone, whatever is trained beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from safecompress.candidate import Candidate
from safecompress.errors import NonFiniteError
from safecompress.train.fit import Trainer
from safecompress.train.memory import kept_memory
from safecompress.train.optimizers import make_optimizer, set_rate_
from safecompress.train.perceptrons import Perceptrons
from safecompress.train.underway import Underway

LARGEST_STEP = {True: 2**22, False: 2**26}
"""Largest rows of a batch × weights moved at which steps are taken in one; True is for a CPU.

Above, a step is mostly products, and one network after the other keeps its weights in the cache.
`benchmarks/cost.py` measures the limit of a CPU; that of a GPU is an estimate.
"""


@dataclass(frozen=True, eq=False)
class Task:
    """A candidate to be trained further.

    Args:
        trainer: trains it; a trainer and its module belong to one task at a time.
        candidate: a candidate of the trainer's module.
        steps: steps to take, at least 1.
    """

    trainer: Trainer
    candidate: Candidate
    steps: int


Trained = Candidate | NonFiniteError
"""A candidate after its training, or the error that says where it stopped being finite."""


def train_side_by_side(tasks: Sequence[Task]) -> list[Trained]:
    """Return every task's candidate after its steps, the same as `Trainer.train` returns.

    Tasks whose steps are equally long and small are taken in one, all others one after the other.
    Shapes decide, and no timing does.

    Args:
        tasks: any number, in any order.
    """
    if len(tasks) == 1:
        return [_alone(tasks[0])]
    results: dict[int, Trained] = {}
    groups: dict[object, list[int]] = {}
    for place, task in enumerate(tasks):
        groups.setdefault(_alike(task) or place, []).append(place)
    for places in groups.values():
        group = [tasks[place] for place in places]
        apart = len({id(task.trainer.module) for task in group}) < len(group)
        trained = [_alone(t) for t in group] if apart or len(group) == 1 else _in_one(group)
        results |= dict(zip(places, trained, strict=True))
    return [results[place] for place in range(len(tasks))]


def small_steps(rows: int, weights: int, device: torch.device) -> bool:
    """Return whether steps of this size gain from being taken in one.

    Args:
        rows: rows of a batch.
        weights: weights that a step moves.
        device: where they are.
    """
    return rows * weights <= LARGEST_STEP[device.type == "cpu"]


def _alike(task: Task) -> object:
    """Return what tasks must have in common to be taken in one; None for one that is not."""
    stage, topology = task.trainer.joint, task.candidate.topology
    if stage is None:
        return None
    missing = topology.total - topology.nonzeros
    weights = sum(p.numel() for p in stage.module.parameters() if p.requires_grad) - missing
    batches = stage.batches
    if not small_steps(batches.size, weights, stage.device):
        return None
    return (
        (stage.device, stage.config.model_dump_json(), stage.name),
        (batches.size, batches.total_steps, task.candidate.step, task.steps),
    )


def _alone(task: Task) -> Trained:
    try:
        return task.trainer.train(task.candidate, task.steps)
    except NonFiniteError as error:
        return error


def _in_one(tasks: Sequence[Task]) -> list[Trained]:
    begun = [task.trainer.begin(task.candidate, task.steps) for task in tasks]
    optimizer = _shared_optimizer(begun)
    perceptrons = Perceptrons.of(begun)
    with ExitStack() as blocks:
        blocks.enter_context(kept_memory())
        for one in begun:
            blocks.enter_context(one.training())
        for index in range(tasks[0].steps):
            if perceptrons is not None:
                torch.autograd.backward(perceptrons.loss_(index))
            else:
                torch.autograd.backward([one.loss_(index) for one in begun])
            for one in begun:
                one.before_()
            set_rate_(optimizer, begun[0].learning_rate(index))
            optimizer.step()
            for one in begun:
                one.after_()
    return [_collected(one) for one in begun]


def _shared_optimizer(begun: Sequence[Underway]) -> torch.optim.Optimizer:
    """Return an optimizer that moves what all of theirs move, and keeps its state in theirs."""
    moved = {f"{k}/{i}": p for k, one in enumerate(begun) for i, p in enumerate(one.moved)}
    optimizer = make_optimizer(begun[0].stage.config, moved)
    for one in begun:
        for parameter in one.moved:
            optimizer.state[parameter] = one.optimizer.state[parameter]
    return optimizer


def _collected(one: Underway) -> Trained:
    try:
        return one.collected()
    except NonFiniteError as error:
        return error
