"""One proposal at one parent: the changed candidate, or why there is none."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.compression.contexts import ContextBuilder
from safecompress.errors import MemoryShortageError, NonFiniteError, telling_memory_shortage
from safecompress.files import tensors_digest
from safecompress.proposals.acceptance import breach_of
from safecompress.protocols import Proposal, ProposalContext

_LONGEST_REASON = 300


class DiscardedError(Exception):
    """A candidate that is not trained any further; the message is the reason."""


def changed(proposal: Proposal, parent: Candidate, context: ProposalContext) -> Candidate:
    """Return the parent as a proposal changes it, once it has been checked.

    The proposal is given copies of the parent and of its context, so that nothing it does to them
    reaches its siblings. What it says of the lineage is replaced by the parent's: only the loop
    knows which proposal it applied.

    Args:
        proposal: any proposal, also somebody else's.
        parent: left untouched.
        context: left untouched.

    Raises:
        DiscardedError: when the proposal breaks its contract, or raises anything but what follows;
            a fault in a published package must not cost a run the hours behind it.
        NonFiniteError: when the proposal meets NaN or infinity in what it was given.
        MemoryShortageError: when memory is used up.
    """
    given = copy.deepcopy(parent)
    where = f"the proposal '{proposal.name}' ({type(proposal).__module__})"
    try:
        with telling_memory_shortage():
            child = proposal(given, copy.deepcopy(context))
            breach = breach_of(proposal, parent, child)
            if not breach and not _same(given, parent):
                breach = "changed its parent in place; return new tensors"
    except (NonFiniteError, MemoryShortageError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:_LONGEST_REASON]
        raise DiscardedError(f"{where} raised {type(error).__name__}: {text}") from error
    if breach:
        raise DiscardedError(f"{where} {breach}.")
    return child.evolve(lineage=parent.lineage)


def _same(one: Candidate, other: Candidate) -> bool:
    ours, theirs = one.tensors(), other.tensors()
    return (
        one.settings() == other.settings()
        and ours.keys() == theirs.keys()
        and all(_equal(ours[name], theirs[name]) for name in ours)
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same; NaN is the same as NaN."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(one, other) or (
        one.is_floating_point() and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    )


@dataclass(frozen=True)
class Attempt:
    """A parent and a proposal that may change it.

    Args:
        name: of the candidate that comes of it, e.g. `r2p1c3`.
        proposal: what changes the parent.
        contexts: hold the parent, and give the proposal what it asks for.
    """

    name: str
    proposal: Proposal
    contexts: ContextBuilder

    @property
    def parent(self) -> Candidate:
        """The candidate that is changed."""
        return self.contexts.parent

    @cached_property
    def changed(self) -> Candidate:
        """The parent as the proposal changes it first, the proposal added to its lineage.

        Raises:
            DiscardedError, NonFiniteError, MemoryShortageError: as `changed` does; asked again,
                it tries again.
        """
        made = self.again(self.parent, 0)
        return made.evolve(lineage=(*self.parent.lineage, self.proposal.name))

    def again(self, candidate: Candidate, update: int) -> Candidate:
        """Return a candidate of this attempt as the proposal changes it.

        Args:
            candidate: the parent, or what training made of it since the last update.
            update: updates before this one.
        """
        context = self.contexts.of(candidate, self.proposal, update)
        return changed(self.proposal, candidate, context)

    @cached_property
    def digest(self) -> str:
        """What tells the changed parent from others; all its tensors are read for it."""
        made = self.changed
        settings = f"{made.soft_target} {made.transforms.settings()}"
        return f"{settings} {tensors_digest(made.tensors())}"
