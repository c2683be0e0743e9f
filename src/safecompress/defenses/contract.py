"""`violations`, `remarks`: the rules that every defense must keep to, and what it does not hide.

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
    soft_labels,
    sparse_topology,
    trainer,
)
from safecompress.defenses.leaks import leaks
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
_PAIRS = 3
"""Pairs of networks: the fewest for which every attack has references enough. One is judged."""
_EPOCHS = 10
"""Epochs of each of them: how long they learn decides what they leak, not whether it is judged."""


def violations(defense: Defense, *, seed: int = 0) -> tuple[str, ...]:
    """Return the rules that a defense breaks, in words; empty when it keeps to all of them.

    When a small network is trained with the defense, its weights stay finite, and weights that do
    not exist stay zero. The same seed gives the same bits, also when training is interrupted and
    resumed from a file, and the result differs from training without the defense. Its penalty is a
    finite scalar with a finite gradient for all logits. The defense does not draw from a global
    generator between steps, changes neither rows nor the dense model, and leaves no hooks behind.
    It gets only what it declares that it needs. It trains any rows, so that models of its own
    recipe can judge it; what they find is no violation (`remarks`).

    Args:
        defense: a defense that was not used yet, strong enough that training with it has another
            result. It is copied for each of about a dozen trainings of at most 80 steps.
        seed: seed of the network, its rows and the training.
    """
    rules = (
        has_a_name,
        _declares_what_it_does,
        _changes_training_and_repeats_itself,
        _keeps_missing_weights_zero_and_resumes_exactly,
        *HOOK_RULES,
        _can_be_judged,
    )
    return broken(defense, rules, seed=seed)


def remarks(defense: Defense, *, seed: int = 0) -> tuple[str, ...]:
    """Return where a defense hides members from one kind of attack and not from another, in words.

    A cohort of small networks is trained with it and attacked by their own kind (`leaks`). No
    remark is a fault of the defense: it says by which attacks it must be judged.

    Args:
        defense: as for `violations`.
        seed: seed of the rows, the draws and the trainings.

    Raises:
        SafeCompressError: when the cohort cannot be trained or attacked; `violations` says why.
    """
    remark = leaks(defense, seed=seed).remark
    return (remark,) if remark else ()


def _trainer(defense: Defense, seed: int) -> Trainer:
    """Return a trainer with a copy of the defense and only what the defense declares to need."""
    dense = finished(seed) if defense.needs_dense else None
    labels = soft_labels(seed) if defense.needs_soft_labels else None
    return trainer(seed, [copy.deepcopy(defense)], dense=dense, soft_labels=labels)


def _trained(defense: Defense, seed: int, topology: Topology | None = None) -> Candidate:
    training = _trainer(defense, seed)
    return training.train(training.start(topology), STEPS)


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


def _changes_training_and_repeats_itself(defense: Defense, seed: int) -> Iterator[str]:
    defended = _trained(defense, seed)
    for name, tensor in defended.tensors().items():
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any()):
            yield f"after training {name} is NaN"
    if same_tensors(defended.weights, finished(seed).state_dict()):
        yield "it changes nothing: training without it gives the same weights, bit for bit"

    with other_global_generators():
        again = _trained(defense, seed)
    if not same_tensors(defended.tensors(), again.tensors()):
        yield "the same seed gives different weights or another state"


def _keeps_missing_weights_zero_and_resumes_exactly(defense: Defense, seed: int) -> Iterator[str]:
    topology = sparse_topology(network(seed))
    whole = _trained(defense, seed, topology)
    for name, mask in topology.masks.items():
        if bool(whole.weights[name][~mask].any()):
            yield f"weights of '{name}' that do not exist come back"
    training = _trainer(defense, seed)
    start = training.start(topology)
    half = training.train(start, _CUT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.safetensors"
        write_tensors(path, half.packed().tensors())
        restored = Candidate.from_tensors(read_tensors(path), half.settings())
    resumed = _trainer(defense, seed).train(restored, STEPS - _CUT)
    if whole.tensors().keys() != resumed.tensors().keys():
        yield "after an interruption its state has other names"
    elif not same_tensors(whole.tensors(), resumed.tensors()):
        yield (
            "training that was interrupted and resumed ends elsewhere; whatever it remembers goes "
            "through state and load_state_"
        )
    again = training.train(start.evolve(defenses={}), STEPS)
    if not same_tensors(whole.tensors(), again.tensors()):
        yield (
            "a second training by the same trainer starts with what it remembers of the first; an "
            "empty state is a fresh start"
        )


def _can_be_judged(defense: Defense, seed: int) -> Iterator[str]:
    """Train and attack a cohort of the recipe: whatever it leaks, this must raise nothing."""
    for leak in leaks(defense, seed=seed, pairs=_PAIRS, judged=2, epochs=_EPOCHS).families:
        if not bool(torch.isfinite(leak.aucs).all()):
            yield f"models that it trained on other rows cannot be judged by {leak.attack}"
