"""`Quantize`: compute with weights and layer inputs of few bits from now on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from safecompress.candidate import Candidate
from safecompress.config import Request
from safecompress.errors import ConfigError
from safecompress.proposals.over_mask import OverMask
from safecompress.proposals.registry import PROPOSALS
from safecompress.protocols import ProposalContext
from safecompress.transforms import WEIGHT_BITS


@final
@dataclass(frozen=True)
class Quantize(OverMask):
    """From now on compute with weights and layer inputs of few bits, after a change of the mask.

    Quantization-aware training: weights that do not exist stay exactly zero, gradients pass
    straight through the rounding, and the optimizer moves fp32 weights. Later proposals that
    change the mask alone keep it.

    Args:
        bits: bits of a weight, 8 or 4.
        activations: whether inputs of linear and convolution layers are rounded to 8 bits.
        mask: the change of the mask that goes with it.

    Raises:
        ConfigError: on another number of bits.

    Reference: Jacob et al., CVPR 2018.
    """

    bits: int
    activations: bool

    def __post_init__(self) -> None:
        if self.bits not in WEIGHT_BITS or isinstance(self.bits, bool):
            raise ConfigError(f"bits is {self.bits!r}; expected 8 or 4.")
        if not isinstance(self.activations, bool):
            raise ConfigError(f"activations is {self.activations!r}; expected true or false.")
        super().__post_init__()

    @property
    def name(self) -> str:
        """The mask's name and the bits, e.g. `rigl int8`, or `keep int4 weights`."""
        return f"{self.mask.name} int{self.bits}" + ("" if self.activations else " weights")

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the candidate with its mask changed and its numbers rounded."""
        changed = self.mask(parent, context)
        rounded = replace(changed.transforms, bits=self.bits, activations=self.activations)
        return changed.evolve(transforms=rounded)


def quantize(*, bits: int = 8, activations: bool = True, mask: Request = "keep") -> Quantize:
    """Return the proposal that computes with few bits from now on.

    Args:
        bits: bits of a weight, 8 or 4.
        activations: whether inputs of linear and convolution layers are rounded to 8 bits.
        mask: the proposal that changes the mask at the same time, a name or one with options.

    Raises:
        ConfigError: on an unknown mask proposal, or another number of bits.

    >>> quantize(bits=4, mask="rigl").name
    'rigl int4'
    """
    return Quantize(bits, activations, mask=PROPOSALS.build(mask, where="mask"))


PROPOSALS.add(
    "quantize",
    quantize,
    summary="computes with int8 or int4 weights and uint8 activations: {bits: 8, mask: rigl}",
    reference="Jacob et al., CVPR 2018",
    cost="rounds weights and activations at every step",
)
