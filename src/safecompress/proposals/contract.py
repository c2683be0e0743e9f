"""`violations`: the contract of proposals, built-in ones and those of other packages.

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
from safecompress.errors import NonFiniteError
from safecompress.proposals.acceptance import breach_of
from safecompress.proposals.imagined import candidate, context
from safecompress.protocols import Proposal, ProposalContext
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    has_a_name,
    holds_only_its_options,
    other_global_generators,
    unknown_needs,
)
from safecompress.topology import Topology

_FROM_CONTEXT = frozenset({"gradient", "channels", "student"})
_FROM_CANDIDATE = frozenset({"moving_average"})
_FROM_RUN = frozenset({"soft_labels", "unpairing"})
"""Requirements that the trainer fulfills; a proposal declares them and is not passed anything."""


def violations(proposal: Proposal, *, seed: int = 0) -> tuple[str, ...]:
    """Return the rules that a proposal breaks, in words; empty when it breaks none.

    A proposal must be a frozen dataclass that holds nothing but its options. It returns what the
    loop accepts (`breach_of`: the number of weights, names, shapes, number types and the step
    stay), and finite numbers; the same for the same parent and context. It does not change the
    lineage, its parent or its context. Weights that stay keep their value and optimizer state, all
    others are zero, and `ever_active` includes every weight that has existed. It requires exactly
    what it uses.

    Args:
        proposal: the proposal; it is applied some twenty times to a candidate of three layers.
        seed: seed of the drawn candidates and of the proposal's own random choices.
    """
    rules = (
        holds_only_its_options,
        has_a_name,
        _declares_what_it_needs,
        _is_accepted_by_the_loop,
        _leaves_the_lineage,
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
    ctx = context(parent, progress=0.25, seed=seed)
    withheld: dict[str, Any] = dict.fromkeys(_FROM_CONTEXT - proposal.requires, None)
    ctx = replace(ctx, **withheld)
    if "moving_average" not in proposal.requires:
        parent = parent.evolve(moving_average={})
    if "student" in proposal.requires:
        # The first call replaces the parent by the student; the rules hold for later calls.
        parent = parent.evolve(from_student=True)
        ctx = replace(ctx, student=candidate(seed=seed + 1))
    return parent, ctx


def _declares_what_it_needs(proposal: Proposal, seed: int) -> Iterator[str]:
    known = _FROM_CONTEXT | _FROM_CANDIDATE | _FROM_RUN
    yield from unknown_needs(proposal, known)
    if isinstance(proposal.updates, bool) or not isinstance(proposal.updates, int):
        yield f"updates is {proposal.updates!r}; expected a whole number"
    elif proposal.updates < 1:
        yield f"updates is {proposal.updates}; expected at least 1"
    parent, ctx = _situation(proposal, seed)
    for needed in sorted(proposal.requires & (_FROM_CONTEXT | _FROM_CANDIDATE)):
        without_it, ctx_without_it = parent, ctx
        if needed in _FROM_CONTEXT:
            nothing: dict[str, Any] = {needed: None}
            ctx_without_it = replace(ctx, **nothing)
        else:
            without_it = parent.evolve(moving_average={})
        if not any(
            _refuses(proposal, p, ctx_without_it)
            for p in (without_it, without_it.evolve(from_student=False))
        ):
            yield f"it requires '{needed}' and does as well without it"


def _refuses(proposal: Proposal, parent: Candidate, ctx: ProposalContext) -> bool:
    try:
        proposal(parent, ctx)
    except Exception:  # it read a field that is None
        return True
    return False


def _is_accepted_by_the_loop(proposal: Proposal, seed: int) -> Iterator[str]:
    kinds: dict[str, dict[str, Any]] = {
        "at density 0.3": {},
        "at density 0.05": {"density": 0.05},
        "at density 0.7, with a full layer,": {"density": 0.7},
        "in float64": {"dtype": torch.float64},
    }
    for what, options in kinds.items():
        parent, ctx = _situation(proposal, seed, **options)
        if breach := breach_of(proposal, parent, proposal(parent, ctx)):
            yield f"{what}: it {breach}"


def _leaves_the_lineage(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, ctx = _situation(proposal, seed)
    child = proposal(parent, ctx)
    if child.lineage != parent.lineage:
        yield f"it writes the lineage {child.lineage}; the loop keeps it, leave it as it is"


def _leaves_its_parent(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, ctx = _situation(proposal, seed)
    tensors = _tensors(parent, ctx)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    proposal(parent, ctx)
    now = _tensors(parent, ctx)
    if now.keys() != before.keys():
        yield "it adds or removes tensors of its parent"
    for name in sorted(before.keys() & now.keys()):
        if not _same(now[name], before[name]):
            yield f"it changes {name} of its parent or context in place"


def _tensors(parent: Candidate, ctx: ProposalContext) -> dict[str, Tensor]:
    tensors = {f"parent/{name}": tensor for name, tensor in parent.tensors().items()}
    tensors |= {f"gradient/{name}": tensor for name, tensor in (ctx.gradient or {}).items()}
    if ctx.student is not None:
        tensors |= {f"student/{name}": tensor for name, tensor in ctx.student.tensors().items()}
    return tensors


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _leaves_no_trace_of_old_weights(proposal: Proposal, seed: int) -> Iterator[str]:
    parent, ctx = _situation(proposal, seed)
    child = proposal(parent, ctx)
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
    parent, ctx = _situation(proposal, seed)
    state = global_generators()
    first = proposal(parent, ctx)
    if global_generators() != state:
        yield f"{GLOBAL_DRAW}, with the context's seed"
    with other_global_generators():
        second = proposal(parent, ctx)
    if not _equal(first, second):
        yield "the same parent and context give different candidates"
    mirrored = parent.evolve(topology=Topology(dict(reversed(list(parent.topology.masks.items())))))
    if not _equal(first, proposal(mirrored, ctx)):
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
        parent, ctx = _situation(proposal, seed)
        if ctx.gradient is not None:
            wild = {name: g * number for name, g in ctx.gradient.items()}
            ctx = replace(ctx, gradient=wild)
        try:
            child = proposal(parent, ctx)
        except NonFiniteError:
            continue
        bad = [
            name
            for name, tensor in child.tensors().items()
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
        ]
        if bad:
            yield f"with {what} gradients it returns numbers that are not finite in {bad[0]}"
