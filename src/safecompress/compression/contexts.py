"""`ContextBuilder`: builds what proposals may look at besides the candidate that they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.config import CompressConfig
from safecompress.protocols import Proposal, ProposalContext
from safecompress.randomness import derive
from safecompress.train import Trainer
from safecompress.transforms import ChannelGroup


@dataclass(frozen=True)
class ContextBuilder:
    """Builds the contexts of one parent in one round.

    Args:
        config: the run's configuration.
        trainer: computes gradients.
        parent: the candidate that the proposals change first.
        index: the parent's place in the population, from 0.
        number: the round, from 0.
        progress: share of the period of mask updates that has passed, in [0, 1].
        channels: the channels of the model that belong together; None if no proposal needs them.
        student: makes a candidate of the dense student; None if no proposal needs it.
    """

    config: CompressConfig
    trainer: Trainer
    parent: Candidate
    index: int
    number: int
    progress: float
    channels: tuple[ChannelGroup, ...] | None
    student: Callable[[], Candidate] | None

    def of(self, candidate: Candidate, proposal: Proposal, update: int) -> ProposalContext:
        """Return what `proposal` may look at.

        Args:
            candidate: the parent, or the trained candidate since the proposal's last update.
            proposal: declares by `requires` what it looks at.
            update: number of the proposal's earlier updates in this round, from 0.
        """
        needs, names = proposal.requires, ("propose", self.number, self.index, proposal.name)
        student = self.student if "student" in needs else None
        return ProposalContext(
            gradient=self._gradient(candidate) if "gradient" in needs else None,
            progress=self.progress,
            seed=derive(self.config.seed, *names, update),
            channels=self.channels if "channels" in needs else None,
            student=None if student is None else student(),
        )

    def _gradient(self, candidate: Candidate) -> dict[str, Tensor]:
        if candidate is self.parent:
            return self._parents_gradient
        return self.trainer.gradient(candidate, self.config.sparse.gradient_batches)

    @cached_property
    def _parents_gradient(self) -> dict[str, Tensor]:
        # Computed once for all proposals that change this parent.
        return self.trainer.gradient(self.parent, self.config.sparse.gradient_batches)
