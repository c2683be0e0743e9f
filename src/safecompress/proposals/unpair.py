"""`Unpair`: train away from the dense model's input gradients, with a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from safecompress.candidate import Candidate
from safecompress.config import Request
from safecompress.errors import ConfigError
from safecompress.proposals.over_mask import OverMask
from safecompress.proposals.registry import PROPOSALS
from safecompress.protocols import ProposalContext

UNPAIRING = "unpairing"
"""Name of the defense whose weight `Unpair` sets, in the defense's state of the candidate."""


@final
@dataclass(frozen=True)
class Unpair(OverMask):
    """From now on train away from the dense model's input gradients, after a change of the mask.

    Args:
        weight: weight of the gradients' cosine in the loss, at least 0; 0 switches it off.
        mask: the change of the mask that goes with it.

    Raises:
        ConfigError: on a negative weight.
    """

    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ConfigError(f"weight is {self.weight}; expected a finite number, at least 0.")
        super().__post_init__()

    def needs(self) -> frozenset[str]:
        """Return `unpairing`: the run must train with that defense."""
        return frozenset({UNPAIRING})

    @property
    def name(self) -> str:
        """The mask's proposal and `unpair=WEIGHT`, e.g. `keep unpair=0.5`."""
        return f"{self.mask.name} unpair={self.weight:g}"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate with its mask changed and the defense's weight set."""
        changed = self.mask(parent, context)
        before = changed.defenses.get(UNPAIRING, {})
        state = {**before, "weight": torch.tensor([self.weight])}
        return changed.evolve(defenses={**changed.defenses, UNPAIRING: state})


def unpair(*, weight: float, mask: Request = "keep") -> Unpair:
    """Return the proposal that trains on away from the dense model's input gradients.

    Args:
        weight: λ, of the cosine of the two models' input gradients in the loss.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or a negative weight.

    >>> unpair(weight=0.5, mask="rigl").name
    'rigl unpair=0.5'
    """
    return Unpair(weight, mask=PROPOSALS.build(mask, where="mask"))


PROPOSALS.add(
    "unpair",
    unpair,
    summary="from now on trains away from the dense model's input gradients: {weight: 0.5}",
    reference="Hong, Carlini & Kurakin, SaTML 2023",
    cost="the dense model's gradient and a second backward pass a step",
)
