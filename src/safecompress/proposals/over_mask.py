"""`OverMask`: a proposal that changes a candidate and lets another proposal change its mask."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from safecompress.config import SparseConfig
from safecompress.errors import ConfigError
from safecompress.protocols import Kept, Proposal

SOFT_TARGET, STUDENT = "the soft target", "the start from a student"
"""What several proposals change besides the mask. A proposal refuses a `mask` that changes the
same, because its own setting would replace it."""


@dataclass(frozen=True)
class OverMask(Proposal):
    """A change that is applied after another proposal has changed the mask.

    It requires what that proposal requires, besides its own `needs`.

    Args:
        mask: the change of the mask.

    Raises:
        ConfigError: on a `mask` that changes what this proposal refuses.
    """

    changes: ClassVar[str] = ""
    """What the proposal changes besides the mask, if another proposal's `refuses` may name it."""
    refuses: ClassVar[frozenset[str]] = frozenset()
    """What `mask` must not change, because this proposal sets it itself."""

    mask: Proposal = field(kw_only=True)
    requires: frozenset[str] = field(init=False, repr=False, compare=False)
    updates: int = field(init=False, repr=False, compare=False)
    keeps: Kept = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.mask, OverMask) and self.mask.changes in self.refuses:
            raise ConfigError(
                f"mask is {self.mask.name}, which changes {self.mask.changes}; expected a change "
                "of the mask."
            )
        object.__setattr__(self, "requires", self.mask.requires | self.needs())
        object.__setattr__(self, "updates", self.mask.updates)
        object.__setattr__(self, "keeps", self.mask.keeps)

    def needs(self) -> frozenset[str]:
        """Return what this change requires in addition to `mask`'s requirements."""
        return frozenset()

    def with_defaults(self, sparse: SparseConfig) -> Proposal:
        return replace(self, mask=self.mask.with_defaults(sparse))
