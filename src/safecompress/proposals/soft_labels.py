"""`SoftLabels`: train towards the outputs of teachers that never trained on the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from safecompress.candidate import Candidate, SoftTarget
from safecompress.config import Request
from safecompress.errors import ConfigError
from safecompress.proposals.over_mask import SOFT_TARGET, OverMask
from safecompress.proposals.registry import PROPOSALS
from safecompress.protocols import ProposalContext


@final
@dataclass(frozen=True)
class SoftLabels(OverMask):
    """From now on train towards soft labels, after a change of the mask.

    A member's soft label is the mean output of teachers that were trained without that member, so
    fitting it cannot memorize the member's own label. `share` mixes it with the hard label: 1 uses
    the soft label alone, 0 the hard label alone. Later proposals that change only the mask keep the
    target.

    Args:
        target: share and temperature of the soft label.
        mask: the change of the mask that goes with it.

    Raises:
        ConfigError: on a share outside [0, 1], a temperature that is not above 0, or a `mask` that
            is itself soft labels.

    Reference: SELENA, Tang et al., USENIX Security 2022 (split ensemble and self-distillation);
    mixing with the hard label: Hinton et al., 2015.
    """

    changes: ClassVar[str] = SOFT_TARGET
    refuses: ClassVar[frozenset[str]] = frozenset({SOFT_TARGET})

    target: SoftTarget

    def __post_init__(self) -> None:
        share, temperature = self.target.share, self.target.temperature
        if not 0 <= share <= 1:
            raise ConfigError(f"share is {share!r}; expected a number in [0, 1].")
        if not 0 < temperature < float("inf"):
            raise ConfigError(f"temperature is {temperature!r}; expected a finite number above 0.")
        super().__post_init__()

    def needs(self) -> frozenset[str]:
        """Return `soft_labels`, which makes the run train teachers; nothing for a share of 0."""
        return frozenset({"soft_labels"} if self.target.share else ())

    @property
    def name(self) -> str:
        """The mask's name, the share, and a temperature that is not 1, e.g. `rigl soft=1 T=2`."""
        share, temperature = self.target.share, self.target.temperature
        return f"{self.mask.name} soft={share:g}" + (
            f" T={temperature:g}" if temperature != 1 else ""
        )

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate with its mask changed and its share of soft labels set."""
        changed = self.mask(parent, context)
        return changed.evolve(soft_target=self.target)


def soft_labels(
    *, share: float = 1.0, temperature: float = 1.0, mask: Request = "keep"
) -> SoftLabels:
    """Return the proposal that trains on towards labels of teachers that never saw the row.

    Args:
        share: share of the target that comes from the soft label, in [0, 1].
        temperature: the soft label is raised to 1 / temperature and normalized.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or a number outside its range.

    >>> soft_labels(share=0.5, mask="rigl").name
    'rigl soft=0.5'
    """
    return SoftLabels(SoftTarget(share, temperature), mask=PROPOSALS.build(mask, where="mask"))


PROPOSALS.add(
    "soft-labels",
    soft_labels,
    summary="from now on learns from teachers that never saw the row: {share: 0.5, mask: rigl}",
    reference="SELENA, Tang et al., USENIX Security 2022",
    cost="the teachers, once a run",
)
