"""`Magnitude`: the dense model without its smallest weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from safecompress.compression.first_masks.cut import cut, declared
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.defenses import Scope
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart


@final
@dataclass(frozen=True)
class Magnitude(FirstMask):
    """The dense model without its smallest weights.

    Args:
        scope: whether magnitudes are compared over all layers (`global`) or in each (`layer`).
    """

    scope: Scope
    needs_dense = True

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the dense weights and the mask of the largest.

        Args:
            context: gives the dense weights.
        """
        weights = declared(context.dense, what="dense model")
        return FirstMaskStart(weights, cut(context, weights, scope=self.scope))


def magnitude_global() -> Magnitude:
    """Return the mask of the dense model's largest weights, of all layers together."""
    return Magnitude("global")


FIRST_MASKS.add(
    "magnitude-global",
    magnitude_global,
    summary="the dense model loses its smallest weights, compared over all layers",
    reference="Han et al., NeurIPS 2015",
    cost="the dense model",
)


def magnitude_layer() -> Magnitude:
    """Return the mask of the dense model's largest weights in each layer."""
    return Magnitude("layer")


FIRST_MASKS.add(
    "magnitude-layer",
    magnitude_layer,
    summary="the dense model loses its smallest weights in each layer",
    reference="Han et al., NeurIPS 2015",
    cost="the dense model",
)
