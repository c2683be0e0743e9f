"""`Proposal`, `ProposalContext`: one way to change a candidate, and what it may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.config import SparseConfig
from safecompress.transforms import ChannelGroup


@dataclass(frozen=True)
class ProposalContext:
    """What a proposal may use besides the candidate; all proposals of a round get the same.

    Args:
        gradient: per maskable parameter the dense mean gradient of the loss at the candidate,
            unmasked and unscaled, or None where no proposal requires it.
        progress: fraction of the mask-update period that has passed, in [0, 1].
        seed: seed of this proposal's random choices.
        channels: groups of channels that can only be removed together, or None where no proposal
            requires them.
        student: a dense student of the teachers, pruned to the density, or None where no proposal
            requires it.
    """

    gradient: Mapping[str, Tensor] | None
    progress: float
    seed: int
    channels: tuple[ChannelGroup, ...] | None = None
    student: Candidate | None = None


Kept: TypeAlias = Literal["layers", "network"]
"""What a proposal keeps the number of weights of."""


class Proposal(ABC):
    """One way to change a candidate: its mask, its training, or the bits it computes with.

    The loop checks what comes back and discards a candidate that breaks the contract, with the
    reason: the step stays; names, shapes and types of the weights stay, and their values are
    finite; each mask fits its weight, which is zero where no weight exists; the number of weights
    stays as `keeps` says; optimizer state has its weight's shape; transforms fit the weights. The
    parent and the context are left untouched. The lineage is the loop's: what a proposal writes
    there is ignored. Whatever a proposal raises, `SystemExit` included, discards the candidate,
    too, and the run goes on.
    """

    requires: frozenset[str] = frozenset()
    """What the run must provide: any of `gradient`, `channels` and `student` (fields of the
    context), `moving_average` (of the candidate) and `soft_labels` (from trained teachers)."""
    updates: int = 1
    """How many times it is applied, at equal intervals, while a candidate is trained on."""
    keeps: Kept = "layers"
    """Which numbers of weights stay exactly as they are: those of all `layers`, or that of the
    whole `network` alone, for a proposal that shares it among the layers anew."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, the same at every call and unique among a run's proposals.

        It is what a lineage lists and a replay finds the proposal by; nothing is read out of its
        words.
        """

    def with_defaults(self, sparse: SparseConfig) -> Proposal:
        """Return the proposal with every option that was left open taken from a configuration.

        The name stays. A proposal without such options, as most are, is returned as it is.

        Args:
            sparse: the section `sparse`.
        """
        del sparse
        return self

    @abstractmethod
    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the changed candidate; the parent's tensors are left untouched.

        Args:
            parent: the candidate to change.
            context: what the proposal may use besides it.
        """
