"""What every defense must keep to, built in or published by somebody else.

>>> from safecompress.defenses import DEFENSES
>>> violations(DEFENSES.build("entropy", where="example"))
()
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.candidate import Candidate
from safecompress.defenses.imagined import (
    CLASSES,
    MEMBERS,
    STEPS,
    network,
    sparse_topology,
    toy,
    trainer,
)
from safecompress.files import read_tensors, write_tensors
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
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
        _has_a_finite_penalty,
        _draws_by_name,
        _leaves_everything_else_alone,
        _hands_out_copies,
    )
    return broken(defense, rules, seed=seed)


def _trainer(defense: Defense | None, seed: int) -> Trainer:
    """Return a trainer with a copy of the defense, and with what it declares that it needs."""
    if defense is None:
        return trainer(seed)
    dense = _dense(seed) if defense.needs_dense else None
    return trainer(seed, [copy.deepcopy(defense)], dense=dense)


def _dense(seed: int) -> nn.Module:
    """Return the network after the same training without any defense."""
    plain = trainer(seed)
    model = network(seed)
    model.load_state_dict(dict(plain.train(plain.start(), STEPS).weights))
    return model.eval()


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
    if _same(made.weights, plain.weights):
        yield "it changes nothing: training without it gives the same weights, bit for bit"


def _repeats_itself(defense: Defense, seed: int) -> Iterator[str]:
    first = _trained(defense, seed)
    with other_global_generators():
        second = _trained(defense, seed)
    if not _same(first.tensors(), second.tensors()):
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
    elif not _same(whole.tensors(), resumed.tensors()):
        yield (
            "training that was interrupted and resumed ends elsewhere; whatever it remembers goes "
            "through state and load_state_"
        )
    again = made.train(start.evolve(defenses={}), STEPS)
    if not _same(whole.tensors(), again.tensors()):
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


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether two mappings of tensors hold the same bits under the same names."""
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def _context(defense: Defense, seed: int, module: nn.Module) -> TrainingContext:
    rows = toy(seed)
    return TrainingContext(
        classes=CLASSES,
        steps=STEPS,
        seed=seed,
        reference=rows["reference"] if defense.needs_reference else None,
        module=module,
        validation=rows["validation"],
        rows=MEMBERS,
        batch_size=MEMBERS,
        dense=_dense(seed) if defense.needs_dense else None,
    )


def _batch(defense: Defense, seed: int, module: nn.Sequential, scale: float) -> Batch:
    """Return a batch in the middle of training, its logits scaled."""
    rows = toy(seed)["members"]
    inputs = rows.inputs
    if isinstance(inputs, Tensor) and defense.needs_input_gradients:
        inputs = inputs.clone().requires_grad_()
    features = module[:-1](inputs)
    logits = module[-1](features) * scale
    return Batch(
        inputs=inputs,
        labels=rows.labels,
        ids=rows.ids,
        logits=logits,
        model=module,
        step=STEPS // 2,
        progress=0.5,
        features=features if defense.needs_features else None,
        loss=cross_entropy(logits, rows.labels),
        masks=Topology.dense(module).masks,
    )


def _has_a_finite_penalty(defense: Defense, seed: int) -> Iterator[str]:
    for scale in (0.0, 1.0, -1.0, 1e3, -1e3, 1e6, -1e6):
        module, own = network(seed), copy.deepcopy(defense)
        own.prepare_(_context(own, seed, module))
        batch = _batch(own, seed, module, scale)
        penalty = own.penalty(batch)
        if penalty is None:
            continue
        if not isinstance(penalty, Tensor) or penalty.ndim:
            shape = tuple(penalty.shape) if isinstance(penalty, Tensor) else type(penalty).__name__
            yield f"its penalty is {shape}; expected a scalar tensor or None"
            return
        if not bool(torch.isfinite(penalty)):
            yield f"its penalty is {float(penalty.detach())} for logits scaled by {scale:g}"
        if not penalty.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(penalty, batch.logits, allow_unused=True)
        if gradient is not None and not bool(torch.isfinite(gradient).all()):
            yield f"its penalty's gradient is not finite for logits scaled by {scale:g}"


def _draws_by_name(defense: Defense, seed: int) -> Iterator[str]:
    module, own = network(seed), copy.deepcopy(defense)
    context = _context(own, seed, module)
    batch = _batch(own, seed, module, 1.0)
    state = global_generators()
    own.prepare_(context)
    own.load_state_({})
    own.penalty(batch)
    own.state()
    if global_generators() != state:
        yield GLOBAL_DRAW


def _leaves_everything_else_alone(defense: Defense, seed: int) -> Iterator[str]:
    module, own = network(seed), copy.deepcopy(defense)
    context = _context(own, seed, module)
    batch = _batch(own, seed, module, 1.0)
    held = {"the batch": [batch.labels, batch.ids, batch.logits.detach()]}
    if isinstance(batch.inputs, Tensor):
        held["the batch"].append(batch.inputs.detach())
    for name, rows in (("reference", context.reference), ("validation", context.validation)):
        if rows is not None and isinstance(rows.inputs, Tensor):
            held[f"the {name} rows"] = [rows.inputs, rows.labels]
    models = {"the model": module, "the dense model": context.dense}
    held |= {n: list(m.state_dict().values()) for n, m in models.items() if m is not None}
    before = {name: [tensor.clone() for tensor in tensors] for name, tensors in held.items()}
    own.prepare_(context)
    with own.training():
        own.penalty(batch)
    for name, tensors in held.items():
        if not all(map(torch.equal, tensors, before[name])):
            yield f"preparing it or asking for its penalty changes {name}"
    if any(m._forward_hooks or m._forward_pre_hooks for m in module.modules()):
        yield "it leaves hooks on the model after training"
    if not module.training:
        yield "it leaves the model in evaluation mode"


def _hands_out_copies(defense: Defense, seed: int) -> Iterator[str]:
    module, own = network(seed), copy.deepcopy(defense)
    own.prepare_(_context(own, seed, module))
    own.penalty(_batch(own, seed, module, 1.0))
    state = own.state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    for tensor in state.values():
        tensor.fill_(1)
    if not _same(before, own.state()):
        yield "state hands out its own tensors; return copies"
