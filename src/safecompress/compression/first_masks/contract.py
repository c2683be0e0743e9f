"""What every first mask must keep to, built in or published by somebody else.

>>> from safecompress.compression.first_masks import FIRST_MASKS
>>> violations(FIRST_MASKS.build("magnitude-global", where="example"))
()
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.compression.first_masks.acceptance import fault_of
from safecompress.config import SparseConfig
from safecompress.protocols import (
    Batch,
    FirstMask,
    FirstMaskContext,
    FirstMaskStart,
    FirstMaskTraining,
    TrainingContext,
)
from safecompress.randomness import generator
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    holds_only_its_options,
    other_global_generators,
)
from safecompress.topology import Topology, maskable_parameters

_ROWS, _INPUTS, _CLASSES, _STEPS = 8, 6, 3, 32
_DENSITIES = (0.3, 0.5, 0.9)


def violations(mask: FirstMask, *, seed: int = 0) -> tuple[str, ...]:
    """Return what a first mask breaks, in words; empty when it keeps to everything.

    It must be a frozen dataclass that holds nothing but its options, return what the run accepts
    (weights of the model's names, shapes and types, finite numbers, and exactly as many as the
    density asks for), look at nothing but what it declares and at that, leave its context alone,
    and return the same for the same context.

    Args:
        mask: the first mask; it is asked some ten times for a model of two layers.
        seed: of the model's weights and of the mask's own choices.
    """
    rules = (
        holds_only_its_options,
        _declares_what_it_needs,
        _is_accepted_by_the_run,
        _leaves_its_context,
        _repeats_itself,
    )
    return broken(mask, rules, seed=seed)


def _module(seed: int) -> nn.Module:
    module = nn.Sequential(nn.Linear(_INPUTS, 8), nn.ReLU(), nn.Linear(8, _CLASSES))
    module.load_state_dict(_weights(module, seed, "module"))
    return module


def _weights(module: nn.Module, seed: int, name: str) -> dict[str, Tensor]:
    return {
        key: torch.randn(tensor.shape, generator=generator(seed, name, key))
        for key, tensor in module.state_dict().items()
    }


def _context(mask: FirstMask, seed: int, *, density: float = 0.5) -> FirstMaskContext:
    """Return a context that holds what the mask declares, and nothing else."""
    module, sparse = _module(seed), SparseConfig(density=density)
    dense = _weights(module, seed, "dense")
    training = mask.training(sparse)

    def gradient(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        del weights
        found = _weights(module, seed, "gradient")
        return {name: found[name] for name in maskable_parameters(module)}

    return FirstMaskContext(
        sparse=sparse,
        seed=seed,
        module=module,
        untrained=_weights(module, seed, "untrained"),
        dense=dense if mask.needs_dense else None,
        student=_weights(module, seed, "student") if mask.needs_teachers else None,
        trained=None if training is None else _trained(training, dense, seed),
        gradient=gradient if mask.looks_at_members else None,
    )


def _trained(training: FirstMaskTraining, dense: Mapping[str, Tensor], seed: int) -> Candidate:
    """Return dense weights and the state that the training's defense ends with."""
    module, defense = _module(seed), training.defense
    module.load_state_dict(dict(dense))
    defense.prepare_(TrainingContext(_CLASSES, _STEPS, seed, None, module=module))
    inputs = torch.randn(_ROWS, _INPUTS, generator=generator(seed, "inputs"))
    labels, ids = torch.arange(_ROWS) % _CLASSES, torch.arange(_ROWS)
    for step in range(_STEPS):
        batch = Batch(inputs, labels, ids, module(inputs), module, step, step / _STEPS)
        defense.penalty(batch)
        defense.before_step_(batch)
        defense.after_step_(batch)
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    state = {defense.name: defense.state()}
    return Candidate(weights, {}, Topology.dense(module), {}, defenses=state)


def _declares_what_it_needs(mask: FirstMask, seed: int) -> Iterator[str]:
    for flag in ("needs_dense", "needs_teachers", "looks_at_members"):
        if not isinstance(getattr(mask, flag), bool):
            yield f"{flag} is {getattr(mask, flag)!r}; expected true or false"
    context = _context(mask, seed)
    given = {"dense": mask.needs_dense and context.trained is None, "student": mask.needs_teachers}
    for name in [name for name, declared in given.items() if declared]:
        nothing: dict[str, Any] = {name: None}
        if _starts(mask, replace(context, **nothing)):
            yield f"it declares that it looks at the {name} weights and does as well without them"


def _starts(mask: FirstMask, context: FirstMaskContext) -> bool:
    try:
        mask.start(context)
    except Exception:  # it looked at what is not there
        return False
    return True


def _is_accepted_by_the_run(mask: FirstMask, seed: int) -> Iterator[str]:
    for density in _DENSITIES:
        context = _context(mask, seed, density=density)
        fault = fault_of(
            mask,
            mask.start(context),
            module=_module(seed),
            weights=_context(mask, seed).untrained,
            density=density,
        )
        if fault:
            yield f"at density {density:g}: it {fault}"


def _leaves_its_context(mask: FirstMask, seed: int) -> Iterator[str]:
    context = _context(mask, seed)
    before = copy.deepcopy(_held(context))
    mask.start(context)
    now = _held(context)
    for name in sorted(before.keys() | now.keys()):
        if name not in now or name not in before or not torch.equal(now[name], before[name]):
            yield f"it changes {name} of its context in place"


def _held(context: FirstMaskContext) -> dict[str, Tensor]:
    groups = {
        "untrained": context.untrained,
        "dense": context.dense or {},
        "student": context.student or {},
        "module": context.module.state_dict(),
    }
    held = {f"{group}/{n}": t for group, tensors in groups.items() for n, t in tensors.items()}
    trained = {} if context.trained is None else context.trained.tensors()
    return held | {f"trained/{name}": tensor for name, tensor in trained.items()}


def _repeats_itself(mask: FirstMask, seed: int) -> Iterator[str]:
    context, other = _context(mask, seed), _context(mask, seed)
    state = global_generators()
    first = mask.start(context)
    if global_generators() != state:
        yield f"{GLOBAL_DRAW}, with the context's seed"
    with other_global_generators():
        second = mask.start(other)
    if not _equal(first, second):
        yield "the same context gives different starts"


def _equal(one: FirstMaskStart, other: FirstMaskStart) -> bool:
    pairs = ((one.weights, other.weights), (one.topology.masks, other.topology.masks))
    return one.soft_target == other.soft_target and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs
    )
