"""The input range as one unit: a ball means the same whatever the preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.errors import DataError


@dataclass(frozen=True)
class InputRange:
    """The least and greatest value of each input, as the model takes them.

    Units run from 0 to 1 between the two. For standardized images they are the pixels again, so a
    radius of 8/255 is eight gray levels in every channel; for a table they are shares of each
    column's range.

    Args:
        low, high: float32, of a shape that can be broadcast to one input; low <= high.

    Raises:
        DataError: when a bound is not finite, or low is above high.
    """

    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        if not bool((torch.isfinite(self.low) & torch.isfinite(self.high)).all()):
            raise DataError("input range: bounds that are not finite.")
        if bool((self.low > self.high).any()):
            raise DataError("input range: a lower bound above its upper bound.")

    @classmethod
    def of_images(cls, mean: Sequence[float], std: Sequence[float]) -> InputRange:
        """Return the range of images with pixels in [0, 1], standardized channel by channel."""
        m, s = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, std))
        return cls(((0 - m) / s).float(), ((1 - m) / s).float())

    @classmethod
    def of_rows(cls, x: Tensor) -> InputRange:
        """Return what rows (n, …) span: [0, 1] where all lie in it, else feature by feature."""
        if float(x.min()) >= 0 and float(x.max()) <= 1:
            return cls(torch.tensor(0.0), torch.tensor(1.0))
        return cls(x.amin(dim=0), x.amax(dim=0))

    def units(self, inputs: Tensor) -> Tensor:
        """Return model inputs (n, …) in [0, 1]; 0 where the range is a single value."""
        low, high = self.low.to(inputs), self.high.to(inputs)
        width = torch.where(high > low, high - low, torch.ones_like(high))
        return ((inputs - low) / width).clamp(0, 1)

    def inputs(self, units: Tensor) -> Tensor:
        """Return what the model takes for units (n, …)."""
        low, high = self.low.to(units), self.high.to(units)
        return low + units * (high - low)
