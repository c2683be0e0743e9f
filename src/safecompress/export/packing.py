"""`gap_stream`, `step_stream`, `quantize`, `pack_halves`: a weight as streams of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress_reader import ESCAPE

Bytes = NDArray[np.uint8]
GRIDS = {"int8": 127, "int4": 7}
"""Largest integer of each grid; the smallest is its negative."""
_MOST_PAIR = 127.99
"""Largest sum of two neighboring integers of one sign before both are rounded. Afterwards it is at
most 128, and 255 times that is below 2 ** 15."""
_AT_ONCE = 1 << 22
"""Weights that are rounded at once."""
_BIAS_STEPS = float(1 << 24)
"""Largest integer of a bias whose channel has no weights, well inside int32."""


def gap_stream(mask: NDArray[np.bool_]) -> Bytes:
    """Return the gaps between existing weights, as `safecompress_reader` decodes them.

    A byte is the number of missing weights before the next existing one; the byte `ESCAPE` stands
    for that many missing weights, with more to follow.

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
    """Return steps between the non-zeros of a weight and the values there, for ONNX operators.

    The running sum of the steps, less 1, is the flat position of each value. Operators write one
    value for every step, so a step longer than 255 is split and a zero is written at the position
    in between, which holds a zero anyway.

    Args:
        values: a weight, any shape and type; its zeros are left out.

    Returns:
        uint8 steps (m,), and values (m,) of the weight's type.

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
    """A weight as integers; the weight is about `values` times its channel's `scale`.

    Args:
        values: int8, the weight's shape, within the grid.
        scale: float32 (output channels,), positive.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


def quantize(
    weight: NDArray[Any],
    kind: str,
    *,
    scale: NDArray[np.float32] | None = None,
    multiplied: bool = False,
) -> QuantizedWeight:
    """Round a weight to integers, symmetric around zero, with one scale per output channel.

    Zeros stay zeros, so masks survive.

    Args:
        weight: float (output channels, input channels, ...), finite.
        kind: `int8` (-127 to 127) or `int4` (-7 to 7).
        scale: float32 (output channels,), positive, that the weight was trained with; by default
            the largest weight of a channel becomes the largest integer.
        multiplied: whether the integers are multiplied by uint8 numbers. Processors without int8
            instructions (VNNI) add two neighboring products in 16 bits and cut off what is larger.
            The scale of a channel is then as large as it must be for that not to happen, at most
            twice the other: sums are the same on all processors.
    """
    most = GRIDS[kind]
    flat = np.asarray(weight, np.float32).reshape(len(weight), -1)
    if scale is None:
        scale = _scale(flat, most, _largest_pair(weight) / _MOST_PAIR if multiplied else None)
    rounded = np.empty(flat.shape, np.int8)
    for rows in _blocks(flat):
        rounded[rows] = np.clip(np.rint(flat[rows] / scale[rows, None]), -most, most)
    return QuantizedWeight(rounded.reshape(weight.shape), scale)


def _scale(
    flat: NDArray[np.float32], most: int, least: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    largest = np.zeros(len(flat), np.float32)
    for rows in _blocks(flat):
        largest[rows] = np.abs(flat[rows]).max(axis=1, initial=0.0)
    # Dividing by the scale must be possible for channels of zeros and of denormal numbers, too.
    scale = np.where(largest > most * np.finfo(np.float32).tiny, largest / most, 1.0)
    return (scale if least is None else np.maximum(scale, least)).astype(np.float32)


def _largest_pair(weight: NDArray[Any]) -> NDArray[np.float32]:
    """Return the largest sum of one sign of two neighboring weights, for each output channel.

    Kernels of matrix products add the products of the first and second input channel, of the third
    and fourth, and so on; for convolutions, those of one place of the kernel come one after the
    other.
    """
    largest = np.zeros(len(weight), np.float32)
    for rows in _blocks(weight.reshape(len(weight), -1)):
        block = np.asarray(weight[rows], np.float32)
        ordered = np.moveaxis(block, 1, -1).reshape(len(block), -1)
        ordered = np.pad(ordered, ((0, 0), (0, ordered.shape[1] % 2)))
        for signed in (ordered, -ordered):
            one = signed.clip(min=0)
            pairs = (one[:, ::2] + one[:, 1::2]).max(axis=1, initial=0.0)
            largest[rows] = np.maximum(largest[rows], pairs)
    return largest


def _blocks(flat: NDArray[np.float32]) -> Iterator[slice]:
    """Yield the rows of a weight in blocks, so that no second copy of a large one is made."""
    rows = max(1, _AT_ONCE // max(1, flat.shape[1]))
    yield from (slice(start, start + rows) for start in range(0, len(flat), rows))


def steps_with_bias(
    rounded: QuantizedWeight, bias: NDArray[np.float64], step: np.float32
) -> NDArray[np.float32]:
    """Return a weight's scales, with fine ones for the channels that have no weights.

    An int32 bias is a multiple of the input's step times its channel's scale. The scale of a
    channel of zeros is free. With a scale of 1 the bias would be a small multiple, or be rounded to
    0, so the scale returned for such a channel makes its bias a large integer.

    Args:
        rounded: the weight.
        bias: float64 (output channels,).
        step: quantization step of the layer's input, positive.

    Returns:
        float32 (output channels,), positive.
    """
    empty = ~rounded.values.reshape(len(bias), -1).any(axis=1)
    finest = np.maximum(np.abs(bias) / (_BIAS_STEPS * float(step)), np.finfo(np.float32).tiny)
    return np.where(empty, finest, rounded.scale).astype(np.float32)


def pack_halves(values: NDArray[np.int8]) -> Bytes:
    """Pack integers into half bytes: each plus 8, the first of two in the low half.

    Args:
        values: int8, any shape, from -7 to 7. An odd number of them is padded with a zero.

    Returns:
        uint8, half as many, rounded up.

    >>> pack_halves(np.array([1, -7, 7], np.int8)).tolist()
    [25, 143]
    """
    shifted = (values.reshape(-1) + 8).astype(np.uint8)
    even = np.concatenate([shifted, np.full(len(shifted) % 2, 8, np.uint8)])
    packed: Bytes = even[::2] | (even[1::2] << 4)
    return packed
