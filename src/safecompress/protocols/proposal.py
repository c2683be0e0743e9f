"""A way to change a candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.config import SparseConfig
from safecompress.transforms import ChannelGroup


@dataclass(frozen=True)
class ProposalContext:
    """What a proposal may look at besides the candidate; the same for every sibling.

    Args:
        gradient: per maskable parameter the dense mean gradient of the loss at the candidate,
            unmasked and unscaled, or None where no proposal asked for it.
        progress: share of the mask-update period that has passed, in [0, 1].
        seed: seed of this proposal's random choices.
        channels: which channels of the model belong together, or None where no proposal asked.
        student: a dense student of the teachers, cut to the density, or None where no proposal
            asked.
    """

    gradient: Mapping[str, Tensor] | None
    progress: float
    seed: int
    channels: tuple[ChannelGroup, ...] | None = None
    student: Candidate | None = None


class Proposal(ABC):
    """One way to change a candidate: its mask, how it trains, with how many bits it computes.

    The number of weights in each mask is kept exactly.
    """

    requires: frozenset[str] = frozenset()
    """Any of `gradient`, `channels` and `student` (the context's), `moving_average` (the
    candidate's) and `soft_labels` (the run trains teachers)."""
    updates: int = 1
    """How often it is applied while a candidate settles, at equal distances."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, unique among a round's proposals."""

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
        """Return the changed candidate; the parent's tensors are left untouched."""
