"""`Lottery`: the dense model's largest weights, set back to their untrained values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safecompress.compression.first_masks.cut import cut, declared
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart


@final
@dataclass(frozen=True)
class Lottery(FirstMask):
    """The mask of the dense model's largest weights, over all layers, and the untrained weights.

    The method keeps the untrained values as they are, so they are not scaled to the mask.

    Reference: Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019; one shot.
    """

    needs_dense = True

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the untrained weights under the dense model's mask.

        Args:
            context: gives the untrained and the dense weights.
        """
        dense = declared(context.dense, what="dense model")
        return FirstMaskStart(context.untrained, cut(context, dense, scope="global"))


FIRST_MASKS.add(
    "lottery",
    Lottery,
    summary="the dense model's largest weights, back at their untrained values",
    reference="Frankle & Carbin, ICLR 2019",
    cost="the dense model",
)
