"""Parting from the dense model: how strongly, as a proposal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from safecompress.candidate import Candidate
from safecompress.errors import ConfigError
from safecompress.proposals.over_mask import OverMask
from safecompress.protocols import ProposalContext

UNPAIRING = "unpairing"
"""Name of the defense that `Unpair` steers, through its state."""


@final
@dataclass(frozen=True)
class Unpair(OverMask):
    """From now on train away from the dense model's input gradients, after a change of the mask.

    Args:
        weight: of the gradients' cosine in the loss, at least 0; 0 stops it.
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
        """Return that the run must measure gradients."""
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
        return changed.evolve(
            defenses={**changed.defenses, UNPAIRING: state}, lineage=(*parent.lineage, self.name)
        )
