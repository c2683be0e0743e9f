"""`InputRange`: converts model inputs to units in [0, 1] and back.

Perturbations are measured in these units, so that a radius means the same under any preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.errors import DataError


@dataclass(frozen=True)
class InputRange:
    """The least and greatest value of each input after preprocessing.

    Units run from 0 to 1 between the two. For standardized images they are the original pixel
    values, so a radius of 8/255 is eight gray levels in every channel; for a table they are
    fractions of each column's range.

    Args:
        low, high: float32, broadcastable to the shape of one input; low <= high.

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
        """Return the range of images with pixels in [0, 1], standardized channel by channel.

        Args:
            mean: subtracted from each channel's pixels.
            std: divides each channel's pixels, > 0.
        """
        m, s = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, std))
        return cls(((0 - m) / s).float(), ((1 - m) / s).float())

    @classmethod
    def of_rows(cls, x: Tensor) -> InputRange:
        """Return the range of rows: [0, 1] where it holds them all, else each feature's own.

        Args:
            x: float (n, …), n at least 1.
        """
        if float(x.min()) >= 0 and float(x.max()) <= 1:
            return cls(torch.tensor(0.0), torch.tensor(1.0))
        return cls(x.amin(dim=0), x.amax(dim=0))

    def units(self, inputs: Tensor) -> Tensor:
        """Return model inputs in units, clamped to [0, 1]; 0 where the range is a single value.

        Args:
            inputs: float (n, …), as the model takes them.
        """
        low, high = self.low.to(inputs), self.high.to(inputs)
        width = torch.where(high > low, high - low, torch.ones_like(high))
        return ((inputs - low) / width).clamp(0, 1)

    def inputs(self, units: Tensor) -> Tensor:
        """Return the model inputs that units stand for, (n, …).

        Args:
            units: float (n, …), in [0, 1].
        """
        low, high = self.low.to(units), self.high.to(units)
        return low + units * (high - low)
