"""`Scratch`: untrained weights under a mask drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safecompress.compression.first_masks.cut import drawn
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.sparse import scaled_to_mask


@final
@dataclass(frozen=True)
class Scratch(FirstMask):
    """Untrained weights under a random mask, scaled to it; independent of models and members."""

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return untrained weights, scaled to the mask that is drawn for them.

        Args:
            context: gives the untrained weights, density, distribution and seed.
        """
        topology = drawn(context)
        weights = scaled_to_mask(context.module, context.untrained, topology, drawn=True)
        return FirstMaskStart(weights, topology)


FIRST_MASKS.add(
    "scratch",
    Scratch,
    summary="untrained weights under a random mask, scaled to it",
    reference="Mocanu et al., Nature Communications 2018; scaling, Evci et al., AAAI 2022",
    cost="none",
)
