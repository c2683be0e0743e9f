"""What changes a candidate and lets another proposal change its mask."""

from __future__ import annotations

from dataclasses import dataclass, field

from safecompress.protocols import Proposal


@dataclass(frozen=True)
class OverMask(Proposal):
    """A change that goes along with a change of the mask; it asks for what that one asks for.

    Args:
        mask: the change of the mask.
    """

    mask: Proposal = field(kw_only=True)
    requires: frozenset[str] = field(init=False, repr=False, compare=False)
    updates: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "requires", self.mask.requires | self.needs())
        object.__setattr__(self, "updates", self.mask.updates)

    def needs(self) -> frozenset[str]:
        """Return what this change requires besides."""
        return frozenset()
