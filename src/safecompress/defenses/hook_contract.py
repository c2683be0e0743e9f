"""`HOOK_RULES`: the rules of a defense's hooks, which are called one by one without any training.

`safecompress.defenses.contract.violations` checks them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.defenses.imagined import (
    CLASSES,
    MEMBERS,
    STEPS,
    finished,
    network,
    same_tensors,
    soft_labels,
    toy,
)
from safecompress.protocols import Batch, Defense, TrainingContext
from safecompress.registry.contract import GLOBAL_DRAW, global_generators
from safecompress.topology import Topology


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
        dense=finished(seed) if defense.needs_dense else None,
        members=rows["members"],
        soft_labels=soft_labels(seed) if defense.needs_soft_labels else None,
    )


def _batch(defense: Defense, seed: int, module: nn.Sequential, scale: float) -> Batch:
    """Return a batch in the middle of training, whose logits are multiplied by `scale`."""
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


def _start(defense: Defense, context: TrainingContext) -> None:
    """Begin a stage as a trainer does: an empty state is a fresh start."""
    defense.prepare_(context)
    defense.load_state_({})


def _has_a_finite_penalty(defense: Defense, seed: int) -> Iterator[str]:
    for scale in (0.0, 1.0, -1.0, 1e3, -1e3, 1e6, -1e6):
        module, copied = network(seed), copy.deepcopy(defense)
        _start(copied, _context(copied, seed, module))
        batch = _batch(copied, seed, module, scale)
        penalty = copied.penalty(batch)
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
    module, copied = network(seed), copy.deepcopy(defense)
    context = _context(copied, seed, module)
    batch = _batch(copied, seed, module, 1.0)
    state = global_generators()
    _start(copied, context)
    copied.penalty(batch)
    copied.state()
    if global_generators() != state:
        yield GLOBAL_DRAW


def _leaves_everything_else_alone(defense: Defense, seed: int) -> Iterator[str]:
    module, copied = network(seed), copy.deepcopy(defense)
    context = _context(copied, seed, module)
    batch = _batch(copied, seed, module, 1.0)
    watched = {"the batch": [batch.labels, batch.ids, batch.logits.detach()]}
    if isinstance(batch.inputs, Tensor):
        watched["the batch"].append(batch.inputs.detach())
    for name, rows in (("reference", context.reference), ("validation", context.validation)):
        if rows is not None and isinstance(rows.inputs, Tensor):
            watched[f"the {name} rows"] = [rows.inputs, rows.labels]
    models = {"the model": module, "the dense model": context.dense}
    watched |= {n: list(m.state_dict().values()) for n, m in models.items() if m is not None}
    before = {name: [tensor.clone() for tensor in tensors] for name, tensors in watched.items()}
    _start(copied, context)
    with copied.training():
        copied.penalty(batch)
    for name, tensors in watched.items():
        if not all(map(torch.equal, tensors, before[name])):
            yield f"preparing it or asking for its penalty changes {name}"
    if any(m._forward_hooks or m._forward_pre_hooks for m in module.modules()):
        yield "it leaves hooks on the model after training"
    if not module.training:
        yield "it leaves the model in evaluation mode"


def _hands_out_copies(defense: Defense, seed: int) -> Iterator[str]:
    module, copied = network(seed), copy.deepcopy(defense)
    _start(copied, _context(copied, seed, module))
    copied.penalty(_batch(copied, seed, module, 1.0))
    state: dict[str, Any] = dict(copied.state())
    for name, value in state.items():
        if not isinstance(value, Tensor):
            yield f"'{name}' of its state is {type(value).__name__}; expected a tensor"
            return
    before = {name: tensor.clone() for name, tensor in state.items()}
    for tensor in state.values():
        tensor.fill_(1)
    if not same_tensors(before, copied.state()):
        yield "state hands out its own tensors; return copies"


HOOK_RULES = (
    _has_a_finite_penalty,
    _draws_by_name,
    _leaves_everything_else_alone,
    _hands_out_copies,
)
"""The rules that the hooks of a defense must keep to."""
