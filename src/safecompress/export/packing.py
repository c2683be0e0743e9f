"""From a weight to streams: where its numbers are, and the numbers; numpy in, numpy out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress_reader import ESCAPE

Bytes = NDArray[np.uint8]
GRIDS = {"int8": 127, "int4": 7}
"""Largest whole number of each kind; its negative is the smallest."""
_BIAS_STEPS = float(1 << 24)
"""What a bias is at most, in steps, where its channel has no weights; int32 has room for more."""


def gap_stream(mask: NDArray[np.bool_]) -> Bytes:
    """Return the gaps between existing weights as `safecompress_reader` reads them.

    Args:
        mask: bool, any shape; True where a weight exists.

    >>> gap_stream(np.array([0, 1, 1, 0, 0, 1], dtype=bool)).tolist()
    [1, 0, 2]
    """
    zeros = np.diff(np.flatnonzero(mask), prepend=-1) - 1
    escapes = zeros // ESCAPE
    stream = np.full(int(escapes.sum()) + len(zeros), ESCAPE, np.uint8)
    stream[np.cumsum(escapes + 1) - 1] = zeros % ESCAPE
    return stream


def step_stream(values: NDArray[Any]) -> tuple[Bytes, NDArray[Any]]:
    """Return steps whose running sum, less 1, says where to put which value; for operators.

    Operators cannot skip an entry, so where a step is longer than 255 a zero is put on the way: a
    position in between holds a zero anyway.

    Args:
        values: a weight, any shape and type; its zeros are left out.

    >>> steps, kept = step_stream(np.array([0, 0, 5] + [0] * 299 + [7]))
    >>> steps.tolist(), kept.tolist()
    ([3, 255, 45], [5, 0, 7])
    """
    flat = values.reshape(-1)
    at = np.flatnonzero(flat)
    steps = np.diff(at, prepend=-1)
    escapes = (steps - 1) // ESCAPE
    stream = np.full(int(escapes.sum()) + len(at), ESCAPE, np.uint8)
    ends = np.cumsum(escapes + 1) - 1
    stream[ends] = steps - ESCAPE * escapes
    kept = np.zeros(len(stream), flat.dtype)
    kept[ends] = flat[at]
    return stream, kept


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight as whole numbers.

    Args:
        values: int8, the weight's shape, within the grid.
        scale: float32 (output channels,), positive; a weight is about its value times the scale.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


def quantize(
    weight: NDArray[Any], kind: str, *, scale: NDArray[np.float32] | None = None
) -> QuantizedWeight:
    """Round a weight to whole numbers, symmetric around zero, one scale per output channel.

    A zero stays a zero, so masks survive.

    Args:
        weight: float (output channels, ...), finite.
        kind: `int8` or `int4`.
        scale: float32 (output channels,) that the weight was trained with; by default each
            channel's largest weight gets the largest number.
    """
    most = GRIDS[kind]
    flat = np.asarray(weight, np.float32).reshape(len(weight), -1)
    if scale is None:
        scale = _scale(flat, most)
    rounded = np.clip(np.rint(flat / scale[:, None]), -most, most)
    return QuantizedWeight(rounded.astype(np.int8).reshape(weight.shape), scale)


def _scale(flat: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    largest = np.abs(flat).max(axis=1, initial=0.0)
    # A channel of zeros needs a scale that can be divided by; so does one of denormal numbers.
    scale = np.where(largest > most * np.finfo(np.float32).tiny, largest / most, 1.0)
    return scale.astype(np.float32)


def steps_with_bias(
    rounded: QuantizedWeight, bias: NDArray[np.float64], step: np.float32
) -> NDArray[np.float32]:
    """Return a weight's scales, those of channels without weights such that the bias keeps its own.

    An int32 bias has the step of the sum it goes into: its layer's input's times its channel's. A
    channel of zeros has any scale, so its own is one that makes the bias a large whole number: of a
    scale of 1 the bias would be a few steps of the input, or none.

    Args:
        rounded: the weight.
        bias: (output channels,).
        step: of the layer's input, positive.
    """
    empty = ~rounded.values.reshape(len(bias), -1).any(axis=1)
    finest = np.maximum(np.abs(bias) / (_BIAS_STEPS * float(step)), np.finfo(np.float32).tiny)
    return np.where(empty, finest, rounded.scale).astype(np.float32)


def pack_halves(values: NDArray[np.int8]) -> Bytes:
    """Return values from -7 to 7, two in a byte, the first in the low half, each plus 8.

    >>> pack_halves(np.array([1, -7, 7], np.int8)).tolist()
    [25, 143]
    """
    shifted = (values.reshape(-1) + 8).astype(np.uint8)
    even = np.concatenate([shifted, np.full(len(shifted) % 2, 8, np.uint8)])
    packed: Bytes = even[::2] | (even[1::2] << 4)
    return packed
