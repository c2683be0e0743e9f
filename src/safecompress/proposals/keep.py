"""`Keep`: the proposal that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from safecompress.candidate import Candidate
from safecompress.proposals.registry import PROPOSALS
from safecompress.protocols import Proposal, ProposalContext


@dataclass(frozen=True)
class Keep(Proposal):
    """Change nothing: the control that shows whether a change was better than none."""

    @property
    def name(self) -> str:
        """`keep`."""
        return "keep"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the parent."""
        del context
        return parent


PROPOSALS.add(
    "keep",
    Keep,
    summary="changes nothing: the control for the others",
    reference="static sparse training",
    cost="none",
)
