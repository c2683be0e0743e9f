"""`RowSums`: what rows of outputs sum to, and whether they are probabilities within rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from safecompress.data.grain import Grain

ENTRY_OFF = 2e-3
"""Largest distance from [0, 1] of an entry that was not visibly rounded: `1 - others.sum()` and
averages of float16 numbers leave it by less."""
_SUM_OFF = 1e-2
"""Largest distance of a row's sum from 1 where the numbers were not visibly rounded."""
_MOST_OFF = 0.5
"""Largest distance of a row's sum from 1 at any rounding; beyond it most of the row is lost."""
_BLOCK = 1 << 20
"""Entries that are summed at a time, to bound the memory of a float64 copy."""


@dataclass(frozen=True)
class RowSums:
    """Smallest and largest entry and sum of every row of one source of outputs.

    Args:
        low, high, total: float64 (n,), of the rows of all parts, in order.
        sizes: rows of each part.
        classes: number of columns.
        entry_off: largest distance of an entry from [0, 1] that rounding explains.
        adding_up: largest distance of a row's sum from its whole to which visible rounding adds up.
    """

    low: Tensor
    high: Tensor
    total: Tensor
    sizes: tuple[int, ...]
    classes: int
    entry_off: float
    adding_up: float

    @classmethod
    def of(cls, parts: Sequence[Tensor], grain: Grain) -> RowSums:
        """Read the rows once.

        Args:
            parts: float32 (n, columns) each, finite.
            grain: how they were rounded: half a step in each of the columns may add up.
        """
        classes = parts[0].shape[-1]
        rows = max(1, _BLOCK // max(1, classes))
        blocks = [block for part in parts for block in torch.split(part, rows)]
        adding_up = classes * grain.step / 2
        return cls(
            low=torch.cat([block.amin(dim=1) for block in blocks]).double(),
            high=torch.cat([block.amax(dim=1) for block in blocks]).double(),
            total=torch.cat([block.double().sum(dim=1) for block in blocks]),
            sizes=tuple(len(part) for part in parts),
            classes=classes,
            entry_off=max(ENTRY_OFF, min(adding_up, 10 * ENTRY_OFF)),
            adding_up=1.01 * adding_up,
        )

    def fits(self, scale: float) -> Tensor:
        """Return which rows have entries in [0, scale] that sum to it within rounding, bool (n,).

        Args:
            scale: what the rows of probabilities would sum to.
        """
        inside = (self.low >= -self.entry_off * scale) & (self.high <= scale * (1 + self.entry_off))
        # Percentages are rounded as numbers of their own: half a step is less of 100 than of 1.
        off = max(_SUM_OFF * scale, min(self.adding_up, _MOST_OFF * scale))
        return inside & ((self.total - scale).abs() <= off)

    def scale_of_shares(self, *, single: bool) -> float:
        """Return what all rows sum to where they are shares of a whole; 0 where they are not.

        Args:
            single: whether there is one column, a share of 1.
        """
        if single:
            inside = (self.low >= -self.entry_off) & (self.high <= 1 + self.entry_off)
            return 1.0 if bool(inside.all()) else 0.0
        for scale in (1.0, 100.0):
            if bool(self.fits(scale).all()):
                return scale
        return self._votes()

    def _votes(self) -> float:
        """Return the common sum of rows without negative entries; 0 where the sums differ."""
        common = float(self.total.median())
        if bool((self.low < 0).any()) or bool((self.high == self.high[0]).all()):
            return 0.0
        # Rounding adds up to so much; where that is most of the sum, equal sums mean nothing.
        off = max(1e-5 * common, self.adding_up if self.adding_up < common / 3 else 0.0)
        return common if common > 0 and bool(((self.total - common).abs() <= off).all()) else 0.0

    def near(self) -> bool:
        """Return whether any row is within [0, 1], as a row of probabilities is."""
        return bool(((self.low >= -self.entry_off) & (self.high <= 1 + self.entry_off)).any())

    def split(self, rows: Tensor) -> list[Tensor]:
        """Return a value per row by the parts that the rows are from; empty parts are left out.

        Args:
            rows: (n,), a value per row.
        """
        return [part for part in torch.split(rows, list(self.sizes)) if len(part)]

    def share(self, rows: Tensor) -> str:
        """Return the share of true rows in words, never rounded to all or none of them.

        Args:
            rows: bool (n,).
        """
        found, n = int(rows.sum()), len(rows)
        return (
            f"{found / n:.2%}"
            if found in {0, n} or 0.0001 <= found / n <= 0.9999
            else (f"{found:,} of {n:,}")
        )

    def row(self, index: int) -> str:
        """Return in words what a row is.

        Args:
            index: position among the rows of all parts.
        """
        return (
            f"row {index} runs from {float(self.low[index]):.6g} to {float(self.high[index]):.6g} "
            f"and sums to {float(self.total[index]):.6g}"
        )
