"""`Attempt`: one proposal applied to one parent, and the candidate or the failure it results in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.compression.contexts import ContextBuilder
from safecompress.errors import (
    FOREIGN,
    MemoryShortageError,
    NonFiniteError,
    telling_memory_shortage,
)
from safecompress.files import tensors_digest
from safecompress.proposals.acceptance import breach_of
from safecompress.protocols import Proposal, ProposalContext

_LONGEST_REASON = 300


class DiscardedError(Exception):
    """The candidate is not trained any further; the message gives the reason."""


def changed(proposal: Proposal, parent: Candidate, context: ProposalContext) -> Candidate:
    """Return the candidate that a proposal makes of a parent, after checking it.

    The proposal receives copies of parent and context, so that changes in place do not reach other
    proposals. The child's lineage is replaced by the parent's, because only the loop adds the names
    of proposals to it.

    Args:
        proposal: any proposal, built in or from another package.
        parent: the candidate to change; left untouched.
        context: what the proposal may look at; left untouched.

    Raises:
        DiscardedError: when the proposal breaks its contract or raises any other error; a fault in
            another package must not end a run after hours of training.
        NonFiniteError: when the proposal finds NaN or infinity in its inputs.
        MemoryShortageError: when memory runs out.
    """
    parent_copy = copy.deepcopy(parent)
    where = f"the proposal '{proposal.name}' ({type(proposal).__module__})"
    try:
        with telling_memory_shortage():
            child = proposal(parent_copy, copy.deepcopy(context))
            breach = breach_of(proposal, parent, child)
            if not breach and not _same(parent_copy, parent):
                breach = "changed its parent in place; return new tensors"
    except (NonFiniteError, MemoryShortageError):
        raise
    except FOREIGN as error:
        text = " ".join(str(error).split())[:_LONGEST_REASON]
        raise DiscardedError(f"{where} raised {type(error).__name__}: {text}") from error
    if breach:
        raise DiscardedError(f"{where} {breach}.")
    return child.evolve(lineage=parent.lineage)


def _same(one: Candidate, other: Candidate) -> bool:
    first, second = one.tensors(), other.tensors()
    return (
        one.settings() == other.settings()
        and first.keys() == second.keys()
        and all(_equal(first[name], second[name]) for name in first)
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have equal type, shape and values; NaN equals NaN."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(one, other) or (
        one.is_floating_point() and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    )


@dataclass(frozen=True)
class Attempt:
    """A parent and a proposal that may change it.

    Args:
        name: name of the resulting candidate, e.g. `r2p1c3` (round 2, parent 1, candidate 3).
        proposal: the proposal that changes the parent.
        contexts: holds the parent, and builds the proposal's contexts.
    """

    name: str
    proposal: Proposal
    contexts: ContextBuilder

    @property
    def parent(self) -> Candidate:
        """The candidate to change."""
        return self.contexts.parent

    @cached_property
    def changed(self) -> Candidate:
        """The parent after the proposal's first update, with the proposal added to its lineage.

        It is packed, because it may wait for many others.

        Raises:
            DiscardedError, NonFiniteError, MemoryShortageError: as the function `changed` does. An
                error is not cached: the next access applies the proposal again.
        """
        child = self.again(self.parent, 0)
        return child.evolve(lineage=(*self.parent.lineage, self.proposal.name)).packed()

    def forget(self) -> None:
        """Let go of the changed parent, once its training has begun; each takes much memory."""
        self.__dict__.pop("changed", None)

    def again(self, candidate: Candidate, update: int) -> Candidate:
        """Return a candidate of this attempt after one more update by the proposal.

        Args:
            candidate: the parent, or the trained candidate since the last update.
            update: number of earlier updates in this round, from 0.
        """
        context = self.contexts.of(candidate, self.proposal, update)
        return changed(self.proposal, candidate, context)

    @cached_property
    def digest(self) -> str:
        """A digest of the changed parent's tensors, soft target and transforms."""
        child = self.changed
        settings = f"{child.soft_target} {child.transforms.settings()}"
        return f"{settings} {tensors_digest(child.tensors())}"
