"""What every defense must keep to, built in or published by somebody else.

>>> from safecompress.defenses import DEFENSES
>>> violations(DEFENSES.build("entropy", where="example"))
()
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from safecompress.candidate import Candidate
from safecompress.defenses.hook_contract import HOOK_RULES
from safecompress.defenses.imagined import (
    STEPS,
    finished,
    network,
    same_tensors,
    sparse_topology,
    trainer,
)
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import Defense
from safecompress.registry.contract import (
    broken,
    has_a_name,
    other_global_generators,
)
from safecompress.topology import Topology
from safecompress.train import Trainer

_CUT = 37
"""Steps before training is interrupted, in the middle of an epoch."""


def violations(defense: Defense, *, seed: int = 0) -> tuple[str, ...]:
    """Return what a defense breaks, in words; empty when it keeps to everything.

    Trained with it, a small network's weights stay finite, weights that do not exist stay zero, the
    same seed gives the same bits, a training that was interrupted and resumed from a file gives
    them, too, and they are others than without it. Its penalty is a finite scalar with a finite
    gradient whatever the logits. It draws from no global generator between steps, changes neither
    rows nor the dense model, leaves no hook behind, and is given only what it declares.

    Args:
        defense: as it is before any training, with a strength that shows: one that changes
            nothing is no defense. It is copied for each of about ten trainings of 80 steps.
        seed: of the network, its rows and the training.
    """
    rules = (
        has_a_name,
        _declares_what_it_does,
        _changes_training_and_stays_finite,
        _repeats_itself,
        _resumes_exactly,
        _keeps_missing_weights_zero,
        *HOOK_RULES,
    )
    return broken(defense, rules, seed=seed)


def _trainer(defense: Defense | None, seed: int) -> Trainer:
    """Return a trainer with a copy of the defense, and with what it declares that it needs."""
    if defense is None:
        return trainer(seed)
    dense = finished(seed) if defense.needs_dense else None
    return trainer(seed, [copy.deepcopy(defense)], dense=dense)


def _trained(defense: Defense | None, seed: int, topology: Topology | None = None) -> Candidate:
    made = _trainer(defense, seed)
    return made.train(made.start(topology), STEPS)


def _declares_what_it_does(defense: Defense, seed: int) -> Iterator[str]:
    del seed
    if not defense.only_penalty:
        return
    for hook in ("before_step_", "after_step_", "training", "state", "load_state_"):
        if getattr(type(defense), hook) is not getattr(Defense, hook):
            yield (
                f"it says that it is nothing but a penalty (only_penalty), and has {hook} of its "
                "own, which is then not called everywhere"
            )


def _changes_training_and_stays_finite(defense: Defense, seed: int) -> Iterator[str]:
    made = _trained(defense, seed)
    for name, tensor in made.tensors().items():
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            yield f"after training {name} is NaN"
    plain = _trained(None, seed)
    if same_tensors(made.weights, plain.weights):
        yield "it changes nothing: training without it gives the same weights, bit for bit"


def _repeats_itself(defense: Defense, seed: int) -> Iterator[str]:
    first = _trained(defense, seed)
    with other_global_generators():
        second = _trained(defense, seed)
    if not same_tensors(first.tensors(), second.tensors()):
        yield "the same seed gives different weights or another state"


def _resumes_exactly(defense: Defense, seed: int) -> Iterator[str]:
    topology = sparse_topology(network(seed))
    whole = _trained(defense, seed, topology)
    made = _trainer(defense, seed)
    start = made.start(topology)
    half = made.train(start, _CUT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.safetensors"
        write_tensors(path, half.tensors())
        back = Candidate.from_tensors(read_tensors(path), half.settings())
    resumed = _trainer(defense, seed).train(back, STEPS - _CUT)
    if whole.tensors().keys() != resumed.tensors().keys():
        yield "after an interruption its state has other names"
    elif not same_tensors(whole.tensors(), resumed.tensors()):
        yield (
            "training that was interrupted and resumed ends elsewhere; whatever it remembers goes "
            "through state and load_state_"
        )
    again = made.train(start.evolve(defenses={}), STEPS)
    if not same_tensors(whole.tensors(), again.tensors()):
        yield (
            "a second training by the same trainer starts with what it remembers of the first; an "
            "empty state is a fresh start"
        )


def _keeps_missing_weights_zero(defense: Defense, seed: int) -> Iterator[str]:
    topology = sparse_topology(network(seed))
    made = _trained(defense, seed, topology)
    for name, mask in topology.masks.items():
        if bool(made.weights[name][~mask].any()):
            yield f"weights of '{name}' that do not exist come back"
