"""What every proposal must keep to, built in or published by somebody else.

>>> from safecompress.proposals import PROPOSALS
>>> violations(PROPOSALS.build("rigl", where="example"))
()
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.errors import ConfigError, NonFiniteError
from safecompress.proposals.imagined import candidate, context
from safecompress.protocols import Proposal, ProposalContext
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
)
from safecompress.topology import Topology

_FROM_CONTEXT = frozenset({"gradient", "channels", "student"})
_FROM_CANDIDATE = frozenset({"moving_average"})
_FROM_RUN = frozenset({"soft_labels", "unpairing"})
"""What the trainer has: a proposal only says that it will be trained with."""


def violations(proposal: Proposal, *, seed: int = 0) -> tuple[str, ...]:
    """Return what a proposal breaks, in words; empty when it keeps to everything.

    It must be a frozen dataclass that holds nothing but its options, keep the number of weights of
    every layer and all names, shapes, number types and the step, leave the lineage to the loop,
    leave its parent and its context alone, keep what it keeps (value and optimizer state) and
    leave everything else at zero, remember every weight that has existed, return finite numbers,
    return the same for the same parent and context, and ask exactly for what it requires.

    Args:
        proposal: the proposal; it is applied some twenty times to a candidate of three layers.
        seed: of the candidates and of the proposal's own choices.
    """
    rules = (
        holds_only_its_options,
        has_a_name,
        _declares_what_it_needs,
        _keeps_counts,
        _leaves_lineage_and_step,
        _leaves_its_parent,
        _leaves_no_trace_of_old_weights,
        _repeats_itself,
        _stays_finite,
    )
    return broken(proposal, rules, seed=seed)


def _situation(
    proposal: Proposal, seed: int, **parent_options: Any
) -> tuple[Candidate, ProposalContext]:
    """Return a parent and a context that hold what the proposal requires, and nothing else."""
    parent = candidate(seed=seed, **parent_options)
    around = context(parent, progress=0.25, seed=seed)
    withheld: dict[str, Any] = dict.fromkeys(_FROM_CONTEXT - proposal.requires, None)
    around = replace(around, **withheld)
    if "moving_average" not in proposal.requires:
        parent = parent.evolve(moving_average={})
    if "student" in proposal.requires:
        # The first time a student takes the parent's place; the rules are about every later time.
        parent = parent.evolve(lineage=(*parent.lineage, proposal.name))
        around = replace(around, student=candidate(seed=seed + 1))
    return parent, around


def _declares_what_it_needs(proposal: Proposal, seed: int) -> Iterator[str]:
    known = _FROM_CONTEXT | _FROM_CANDIDATE | _FROM_RUN
    if unknown := sorted(proposal.requires - known):
        yield f"it requires {', '.join(unknown)}; known are {', '.join(sorted(known))}"
    if isinstance(proposal.updates, bool) or not isinstance(proposal.updates, int):
        yield f"updates is {proposal.updates!r}; expected a whole number"
    elif proposal.updates < 1:
        yield f"updates is {proposal.updates}; expected at least 1"
    parent, around = _situation(proposal, seed)
    for needed in sorted(proposal.requires & (_FROM_CONTEXT | _FROM_CANDIDATE)):
        lacking, about = parent, around
        if needed in _FROM_CONTEXT:
            nothing: dict[str, Any] = {needed: None}
            about = replace(around, **nothing)
        else:
            lacking = parent.evolve(moving_average={})
        if not any(_refuses(proposal, p, about) for p in (lacking, lacking.evolve(lineage=()))):
            yield f"it requires '{needed}' and does as well without it"


def _refuses(proposal: Proposal, parent: Candidate, around: ProposalContext) -> bool:
    try:
        proposal(parent, around)
    except ConfigError:
        return True
    return False


def _keeps_counts(proposal: Proposal, seed: int) -> Iterator[str]:
    kinds: dict[str, dict[str, Any]] = {
        "at density 0.3": {},
        "at density 0.05": {"density": 0.05},
        "at density 0.7, with a full layer,": {"density": 0.7},
        "in float64": {"dtype": torch.float64},
    }
    for what, options in kinds.items():
        parent, around = _situation(proposal, seed, **options)
        child = proposal(parent, around)
        for name, count in parent.topology.layer_counts().items():
            mask = child.topology.masks.get(name)
            if mask is None or mask.shape != parent.topology.masks[name].shape:
                yield f"{what}: the mask of '{name}' is gone or has another shape"
            elif mask.dtype != torch.bool:
                yield f"{what}: the mask of '{name}' is {mask.dtype}; expected torch.bool"
            elif int(mask.sum()) != count:
                yield f"{what}: '{name}' had {count} weights and has {int(mask.sum())}"
        for group in ("weights", "ever_active"):
            yield from _differences(
                getattr(parent, group), getattr(child, group), f"{what}: {group}"
            )


def _differences(before: Any, after: Any, what: str) -> Iterator[str]:
    """Yield how two groups of tensors differ in names, shapes and number types."""
    if set(before) != set(after):
        odd = ", ".join(sorted(set(before) ^ set(after)))
        yield f"{what} are of other names than before: {odd}"
        return
    for name, old in before.items():
        new = after[name]
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            yield (
                f"{what} of '{name}' are {new.dtype} {tuple(new.shape)}; before they were "
                f"{old.dtype} {tuple(old.shape)}"
            )


def _leaves_lineage_and_step(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, around = _situation(proposal, seed)
    child = proposal(parent, around)
    if child.step != parent.step:
        yield f"it sets the step to {child.step}; the parent's is {parent.step}"
    if child.lineage not in (parent.lineage, (*parent.lineage, proposal.name)):
        yield f"it writes the lineage {child.lineage}; the loop keeps it, leave it as it is"


def _leaves_its_parent(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, around = _situation(proposal, seed)
    held = _tensors(parent, around)
    before = {name: tensor.clone() for name, tensor in held.items()}
    proposal(parent, around)
    now = _tensors(parent, around)
    if now.keys() != before.keys():
        yield "it adds or removes tensors of its parent"
    for name in sorted(before.keys() & now.keys()):
        if not _same(now[name], before[name]):
            yield f"it changes {name} of its parent or context in place"


def _tensors(parent: Candidate, around: ProposalContext) -> dict[str, Tensor]:
    held = {f"parent/{name}": tensor for name, tensor in parent.tensors().items()}
    held |= {f"gradient/{name}": tensor for name, tensor in (around.gradient or {}).items()}
    if around.student is not None:
        held |= {f"student/{name}": tensor for name, tensor in around.student.tensors().items()}
    return held


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _leaves_no_trace_of_old_weights(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, around = _situation(proposal, seed)
    child = proposal(parent, around)
    for name, old in parent.topology.masks.items():
        new = child.topology.masks[name]
        yield from _wrong_weights(parent, child, name, old & new)
        if bool(((parent.ever_active[name] | new) & ~child.ever_active[name]).any()):
            yield f"ever_active of '{name}' lacks weights that have existed"


def _wrong_weights(parent: Candidate, child: Candidate, name: str, kept: Tensor) -> Iterator[str]:
    both: dict[str, tuple[Tensor, Tensor | None]] = {}
    both["weight"] = parent.weights[name], child.weights[name]
    for key, value in parent.optimizer.get(name, {}).items():
        if value.shape == kept.shape:
            both[f"optimizer state '{key}'"] = value, child.optimizer.get(name, {}).get(key)
    for what, (old, new) in both.items():
        if new is None:
            yield f"the {what} of '{name}' is gone"
            continue
        if not torch.equal(new[kept], old[kept]):
            yield f"a weight of '{name}' that stays does not keep its {what}"
        if bool(new[~kept].any()):
            yield f"a grown or missing weight of '{name}' has a {what} that is not zero"


def _repeats_itself(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, around = _situation(proposal, seed)
    state = global_generators()
    first = proposal(parent, around)
    if global_generators() != state:
        yield f"{GLOBAL_DRAW}, with the context's seed"
    with other_global_generators():
        second = proposal(parent, around)
    if not _equal(first, second):
        yield "the same parent and context give different candidates"
    mirrored = parent.evolve(topology=Topology(dict(reversed(list(parent.topology.masks.items())))))
    if not _equal(first, proposal(mirrored, around)):
        yield "the result depends on the order of the layers"


def _equal(one: Candidate, other: Candidate) -> bool:
    a, b = one.tensors(), other.tensors()
    return (
        a.keys() == b.keys()
        and all(_same(a[name], b[name]) for name in a)
        and one.settings() == other.settings()
    )


def _stays_finite(proposal: Proposal, seed: int) -> Iterator[str]:
    for what, number in (("enormous", 1e30), ("NaN", float("nan"))):
        parent, around = _situation(proposal, seed)
        if around.gradient is not None:
            wild = {name: g * number for name, g in around.gradient.items()}
            around = replace(around, gradient=wild)
        try:
            child = proposal(parent, around)
        except NonFiniteError:
            continue
        bad = [
            name
            for name, tensor in child.tensors().items()
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
        ]
        if bad:
            yield f"with {what} gradients it returns numbers that are not finite in {bad[0]}"
