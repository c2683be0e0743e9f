"""`Snip`: the untrained weights whose removal would change the loss most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safecompress.compression.first_masks.cut import cut, declared
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.sparse import scaled_to_mask


@final
@dataclass(frozen=True)
class Snip(FirstMask):
    """The untrained weights that the loss depends on most, to first order, scaled to the mask.

    Reference: SNIP, Lee, Ajanthan & Torr, ICLR 2019, equation 4.
    """

    looks_at_members = True

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the untrained weights and the mask of the largest |weight × gradient|.

        Args:
            context: gives the untrained weights, and the gradient of the loss on members.
        """
        weights = context.untrained
        gradient = declared(context.gradient, what="gradient")(weights)
        sensitivity = {name: weights[name] * g for name, g in gradient.items()}
        topology = cut(context, sensitivity, scope="global")
        scaled = scaled_to_mask(context.module, weights, topology, drawn=False)
        return FirstMaskStart(scaled, topology)


FIRST_MASKS.add(
    "snip",
    Snip,
    summary="untrained weights without which the loss would change most, scaled to the mask",
    reference="Lee, Ajanthan & Torr, ICLR 2019",
    cost="a dense gradient",
)
