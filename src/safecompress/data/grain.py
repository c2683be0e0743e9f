"""`Grain` and `grain_of`: how coarsely recorded numbers were rounded, read off the numbers.

Rounded outputs tie where the model's own do not, which hides leakage from attacks, and rows of
rounded probabilities no longer sum to exactly 1. A file does not say how it was rounded, and an
array of float32 may hold numbers that were once float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SAMPLE = 1 << 16
"""Most numbers that are looked at; numbers that are rounded are so everywhere."""
_MOST_PARTS = 1024
"""Largest T for which multiples of 1/T are found: votes of T trees, 8-bit levels, 3 decimals."""
_FEWEST = 8
"""Fewest numbers, other than whole ones, by which a rounding is recognized."""
_CLOSE = 1e-3
"""Largest distance from a whole number at which a multiple of 1/T counts as one."""


@dataclass(frozen=True)
class Grain:
    """How numbers were rounded.

    Args:
        name: in words, for messages; empty where no rounding was found.
        step: distance of neighboring numbers near 1; 0 where no rounding was found.
    """

    name: str = ""
    step: float = 0.0


NO_GRAIN = Grain()


def grain_of(parts: Sequence[Tensor]) -> Grain:
    """Return how numbers were rounded.

    Args:
        parts: float32 tensors of any shape, all recorded in the same way; finite.
    """
    share = max(1, sum(part.numel() for part in parts) // _SAMPLE)
    values = torch.cat([part.reshape(-1)[::share] for part in parts]).double()
    broken = values[values != values.round()]
    if not len(broken):
        return Grain("to whole numbers", 1.0)
    if len(broken) < _FEWEST:
        return NO_GRAIN
    for name, dtype, step in (
        ("bfloat16", torch.bfloat16, 2.0**-8),
        ("float16", torch.float16, 2.0**-11),
    ):
        if torch.equal(broken.to(dtype).double(), broken):
            return _levels(broken) or Grain(f"in {name}", step)
    return _levels(broken) or _decimals(broken) or NO_GRAIN


def _levels(values: Tensor) -> Grain | None:
    """Return the grain of multiples of 1/T with the least T, if there is one."""
    if float(values.abs().max()) > 128:
        return None
    few, parts = values[:512], torch.arange(2, _MOST_PARTS + 1, dtype=torch.float64)
    off = few[:, None] * parts
    for count in parts[((off - off.round()).abs() < _CLOSE).all(dim=0)].tolist():
        whole = values * count
        if bool(((whole - whole.round()).abs() < _CLOSE).all()):
            digits = {10.0: 1, 100.0: 2, 1000.0: 3}.get(count)
            name = f"to multiples of 1/{count:.0f}" if digits is None else _to_digits(digits)
            return Grain(name, 1 / count)
    return None


def _decimals(values: Tensor) -> Grain | None:
    for digits in (4, 5):
        whole = values * 10.0**digits
        # float32 itself is off by 6e-8 of the number.
        allowed = _CLOSE + 2e-7 * whole.abs()
        if bool(((whole - whole.round()).abs() < allowed.clamp(max=0.1)).all()):
            return Grain(_to_digits(digits), 10.0**-digits)
    return None


def _to_digits(digits: int) -> str:
    return f"to {digits} decimal{'s' if digits > 1 else ''}"
