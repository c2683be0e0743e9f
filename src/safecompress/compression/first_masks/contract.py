"""`violations`: the contract of first masks, built-in ones and those of other packages.

>>> from safecompress.compression.first_masks import FIRST_MASKS
>>> violations(FIRST_MASKS.build("scratch", where="example"))
()
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from safecompress.compression.first_masks.acceptance import fault_of
from safecompress.compression.first_masks.imagined import SPARSE, Situation
from safecompress.defenses.imagined import network, same_tensors
from safecompress.errors import ConfigError
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart, FirstMaskTraining
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    holds_only_its_options,
    other_global_generators,
)

_DENSITIES = (0.1, 0.37, 0.9)
_DISTRIBUTIONS = ("uniform", "erk")


def violations(mask: FirstMask, *, seed: int = 0) -> tuple[str, ...]:
    """Return the rules that a first mask breaks, in words; empty when it breaks none.

    A first mask must be a frozen dataclass that holds nothing but its options. At density 0.5 it
    returns finite weights with the names, shapes and types of the model's, a bool mask for each
    maskable weight, and exactly as many weights as the density requires; at other densities and
    distributions the same, unless it refuses them with a ConfigError. It returns the same for the
    same context, independently of the order of the weights, the global random generators and the
    weights in the module, and does not change its context. Its result depends on the dense model,
    the teachers, their labels and the members exactly if it declares them; undeclared fields are
    None. If it has a training, an interrupted and resumed training leads to the same start.

    Args:
        mask: the first mask; it is called about twenty times for a network of two layers, and its
            training, if it has one, runs as often, with `sparse.train` of six steps.
        seed: seed of the network, its rows and the mask's own random choices.
    """
    rules = (
        holds_only_its_options,
        _declares_yes_or_no,
        _is_accepted_by_the_run,
        _meets_other_densities,
        _repeats_itself,
        _leaves_its_context,
        _looks_at_what_it_declares,
        _trains_as_a_run_can,
        _resumes_exactly,
    )
    return broken(mask, rules, seed=seed)


def _declares_yes_or_no(mask: FirstMask, seed: int) -> Iterator[str]:
    del seed
    for name in ("needs_dense", "needs_teachers", "needs_soft_labels", "looks_at_members"):
        if not isinstance(said := getattr(mask, name), bool):
            yield f"{name} is {said!r}; expected True or False"


def _is_accepted_by_the_run(mask: FirstMask, seed: int) -> Iterator[str]:
    if fault := _fault(mask, Situation(seed)):
        yield f"it {fault}"


def _meets_other_densities(mask: FirstMask, seed: int) -> Iterator[str]:
    for density in _DENSITIES:
        for distribution in _DISTRIBUTIONS:
            asked = {"density": density, "distribution": distribution}
            sparse = SPARSE.model_copy(update=asked)
            try:
                fault = _fault(mask, Situation(seed, sparse))
            except ConfigError:
                # There need not be such a mask at every density.
                continue
            if fault:
                yield f"at density {density:g}, {distribution}: it {fault}"


def _fault(mask: FirstMask, situation: Situation) -> str:
    untouched = network(situation.seed)
    start: Any = mask.start(situation.context(mask))
    return fault_of(
        mask,
        start,
        module=untouched,
        weights=untouched.state_dict(),
        density=situation.sparse.density,
    )


def _repeats_itself(mask: FirstMask, seed: int) -> Iterator[str]:
    context, again = Situation(seed).context(mask), Situation(seed).context(mask)
    with other_global_generators():
        # A state that no earlier call can have left, so that one which sets it is seen.
        before = global_generators()
        first = mask.start(context)
        if global_generators() != before:
            yield f"{GLOBAL_DRAW}, with the context's seed"
    if not _same(first, mask.start(again)):
        yield "the same context gives another start the second time"
        return
    if not _same(first, _start(mask, Situation(seed, backwards=True))):
        yield "the start depends on the order in which state_dicts name the weights"
    if not _same(first, _start(mask, Situation(seed, held=1))):
        yield (
            "the start depends on the weights that the module holds, and nobody knows which these "
            "are; take context.untrained, or declare needs_dense"
        )


def _leaves_its_context(mask: FirstMask, seed: int) -> Iterator[str]:
    context = Situation(seed).context(mask)
    held, was_training = _tensors(context), context.module.training
    before = {name: tensor.clone() for name, tensor in held.items()}
    mask.start(context)
    now = _tensors(context)
    if now.keys() != before.keys():
        yield "it adds tensors to its context, or takes some away"
    for name in sorted(before.keys() & now.keys()):
        if not torch.equal(now[name], before[name]):
            yield f"it changes {name} of its context in place; work on copies"
    if context.module.training != was_training:
        yield "it leaves the module of its context in another mode"


def _tensors(context: FirstMaskContext) -> dict[str, Tensor]:
    groups = {
        "module": context.module.state_dict(),
        "untrained": context.untrained,
        "dense": context.dense or {},
        "student": context.student or {},
        "trained": {} if context.trained is None else context.trained.tensors(),
    }
    return {f"{what}/{n}": tensor for what, group in groups.items() for n, tensor in group.items()}


def _looks_at_what_it_declares(mask: FirstMask, seed: int) -> Iterator[str]:
    start = _start(mask, Situation(seed))
    others = {
        "needs_dense": ("another dense model gives", Situation(seed, dense=1)),
        "needs_teachers": ("other teachers give", Situation(seed, teachers=1)),
        "needs_soft_labels": ("other soft labels give", Situation(seed, labels=1)),
        "looks_at_members": ("other members give", Situation(seed, members=1)),
    }
    for flag, (other, situation) in others.items():
        depends = not _same(start, _start(mask, situation))
        if depends and not getattr(mask, flag):
            yield f"it does not declare {flag}, and {other} another start"
        elif getattr(mask, flag) and not depends:
            yield f"it declares {flag}, and {other} the same start; leave the declaration out"


def _trains_as_a_run_can(mask: FirstMask, seed: int) -> Iterator[str]:
    del seed
    training: Any = mask.training(SPARSE)
    if training is None:
        return
    if not isinstance(training, FirstMaskTraining):
        yield f"training returned {type(training).__name__}; expected FirstMaskTraining or None"
        return
    again = mask.training(SPARSE)
    if again is None or again.defense is training.defense:
        yield (
            "training hands out the same defense twice; make it anew, because a training that is "
            "resumed must not begin with what another one left in it"
        )


def _resumes_exactly(mask: FirstMask, seed: int) -> Iterator[str]:
    if mask.training(SPARSE) is None:
        return
    # In the middle of an epoch, and after some of what happens in it.
    if not _same(_start(mask, Situation(seed)), _start(mask, Situation(seed, interrupted=3))):
        yield (
            "a training that was interrupted and resumed leads to another start; whatever its "
            "defense remembers goes through state and load_state_"
        )


def _start(mask: FirstMask, situation: Situation) -> FirstMaskStart:
    return mask.start(situation.context(mask))


def _same(one: FirstMaskStart, other: FirstMaskStart) -> bool:
    """Return whether a search begins alike: what weights that do not exist hold is no matter."""
    return (
        same_tensors(one.topology.masks, other.topology.masks)
        and same_tensors(_existing(one), _existing(other))
        and one.soft_target == other.soft_target
    )


def _existing(start: FirstMaskStart) -> dict[str, Tensor]:
    masks = start.topology.masks
    return {name: w * masks[name] if name in masks else w for name, w in start.weights.items()}
