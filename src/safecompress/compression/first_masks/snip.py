"""`Snip`, `SoftSnip`: the untrained weights whose removal would change the loss most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from safecompress.candidate import HARD, SoftTarget
from safecompress.compression.first_masks.cut import cut, declared
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.errors import ConfigError
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
        gradient = declared(context.gradient, what="gradient")(context.untrained)
        return _most_sensitive(context, gradient, HARD)


FIRST_MASKS.add(
    "snip",
    Snip,
    summary="untrained weights without which the loss would change most, scaled to the mask",
    reference="Lee, Ajanthan & Torr, ICLR 2019",
    cost="a dense gradient",
)


@final
@dataclass(frozen=True)
class SoftSnip(FirstMask):
    """SNIP towards labels of teachers that never saw the row, which the candidate goes on with.

    Neither the mask nor what is trained under it meets a member's own label.

    Args:
        temperature: above 0; the labels are raised to 1 / temperature and normalized, so that more
            than 1 flattens them.

    Raises:
        ConfigError: on a temperature that is not a finite number above 0.

    Reference: SNIP, Lee, Ajanthan & Torr, ICLR 2019, equation 4, with the soft labels of SELENA,
    Tang et al., USENIX Security 2022.
    """

    temperature: float = 1.0
    looks_at_members = True
    needs_soft_labels = True

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(
                f"temperature is {self.temperature!r}; expected a finite number above 0."
            )

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the untrained weights, the mask of the largest |weight × gradient|, and a target.

        Args:
            context: gives the untrained weights, and the gradient towards the teachers' labels.
        """
        target = SoftTarget(1.0, self.temperature)
        differentiate = declared(context.soft_gradient, what="soft_gradient")
        return _most_sensitive(context, differentiate(context.untrained, target), target)


FIRST_MASKS.add(
    "snip-soft",
    SoftSnip,
    summary="SNIP towards the labels of teachers, with which training goes on: {temperature: 2}",
    reference="Lee, Ajanthan & Torr, ICLR 2019; Tang et al., USENIX Security 2022",
    cost="the teachers and a dense gradient",
)


def _most_sensitive(
    context: FirstMaskContext, gradient: Mapping[str, Tensor], target: SoftTarget
) -> FirstMaskStart:
    weights = context.untrained
    sensitivity = {name: weights[name] * g for name, g in gradient.items()}
    topology = cut(context, sensitivity, scope="global")
    scaled = scaled_to_mask(context.module, weights, topology, drawn=False)
    return FirstMaskStart(scaled, topology, soft_target=target)
