"""`Layer`: what a drop or grow rule may read, one maskable parameter of one candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from safecompress.errors import ConfigError

Requirement: TypeAlias = Literal["gradient", "moving_average"]

_REMEDY: dict[str, str] = {
    "gradient": "pass dense gradients as ProposalContext.gradient (Trainer.gradient makes them)",
    "moving_average": "train with track_moving_average=True so that the candidate carries one",
}


@dataclass(frozen=True)
class Layer:
    """One maskable parameter, on the CPU; every tensor has the parameter's shape.

    Args:
        name: the parameter's name.
        weight: its values, zero where the mask is False.
        mask: bool, True where a weight exists before the update.
        ever_active: bool, True where a weight has existed at any time.
        gradient: dense gradient of the loss, unmasked; None where it was not computed.
        moving_average: dense moving average of gradients, unmasked; None where training did not
            track it.
        generator: fixed by the proposal's seed, the rule's role and the layer's name, so that
            choices do not depend on which layer comes first.
        allowed: bool, True where a weight may exist at all; None where it may everywhere.
    """

    name: str
    weight: Tensor
    mask: Tensor
    ever_active: Tensor
    gradient: Tensor | None
    moving_average: Tensor | None
    generator: torch.Generator
    allowed: Tensor | None = None

    @property
    def places(self) -> int:
        """Number of positions at which a weight may exist."""
        return self.mask.numel() if self.allowed is None else int(self.allowed.sum())

    def need(self, field: Requirement) -> Tensor:
        """Return the gradient or the moving average.

        Args:
            field: `gradient` or `moving_average`.

        Raises:
            ConfigError: when the tensor is missing or has another shape than the weight.
        """
        tensor = self.gradient if field == "gradient" else self.moving_average
        label = field.replace("_", " ")
        if tensor is None:
            raise ConfigError(f"'{self.name}' has no {label}; {_REMEDY[field]}.")
        if tensor.shape != self.weight.shape:
            raise ConfigError(
                f"'{self.name}': the {label} has shape {tuple(tensor.shape)}, the weight "
                f"{tuple(self.weight.shape)}; {_REMEDY[field]}."
            )
        return tensor
