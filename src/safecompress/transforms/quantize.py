"""Rounding to few bits, computed in fp32: weights per output channel, layer inputs per tensor.

Weights use a symmetric grid, so a weight that does not exist stays exactly zero. The grid ends at a
channel's largest weight, so no weight is clipped. Inputs use an unsigned asymmetric grid that
contains zero, so padding stays exactly zero. Both compute the same as ONNX's `QuantizeLinear` and
`DequantizeLinear`.

Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from safecompress.errors import ConfigError

WEIGHT_BITS = (8, 4)
"""Bits of a weight with which runtimes can compute."""

INPUT_LEVELS = 255
"""Largest code of a layer's input, uint8."""

_LOW_BITS = 0xFF
_CUTS = tuple(1.0 - 0.05 * i for i in range(13))


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """Return the step between two neighboring values of each output channel.

    The step is a channel's largest weight divided by the largest code, rounded up to 16 significant
    bits. Every code times the step is then exact in fp32, so quantizing quantized weights again
    changes no bit.

    Args:
        weight: float32 (outputs, …).
        bits: 8 or 4; codes are in [-127, 127] or [-7, 7].

    Returns:
        float32 (outputs,), positive; 1 where all weights of a channel are zero.

    Raises:
        ConfigError: on another number of bits.

    >>> weight_scale(torch.tensor([[0.5, -7.0], [0.0, 0.0]]), 4)
    tensor([1., 1.])
    """
    return _step(weight.detach().float().flatten(1).abs().amax(dim=1), bits)


def _step(largest: Tensor, bits: int) -> Tensor:
    """Return the step of each channel from its largest |weight|, float32 (outputs,)."""
    if bits not in WEIGHT_BITS:
        raise ConfigError(f"bits is {bits!r}; expected one of {', '.join(map(str, WEIGHT_BITS))}.")
    exact = largest / _largest_code(bits)
    rounded = ((exact.view(torch.int32) + _LOW_BITS) & ~_LOW_BITS).view(torch.float32)
    # A step below the smallest normal number has fewer than 16 significant bits to round to; such a
    # channel is treated as all zero.
    return torch.where(rounded >= torch.finfo(torch.float32).tiny, rounded, 1.0)


def codes(weight: Tensor, bits: int) -> Tensor:
    """Return the weights as integers; `weight_scale` gives their step.

    Args:
        weight: float32 (outputs, …).
        bits: 8 or 4.

    Returns:
        int8 (outputs, …), in [-127, 127] or [-7, 7].

    Raises:
        ConfigError: on another number of bits.
    """
    return _codes(weight, weight_scale(weight, bits), bits).to(torch.int8)


def quantized(weight: Tensor, bits: int) -> Tensor:
    """Return the weights rounded to the grid, of the same shape and dtype.

    Args:
        weight: floating-point (outputs, …).
        bits: 8 or 4.

    Raises:
        ConfigError: on another number of bits.
    """
    scale = weight_scale(weight, bits)
    return (_codes(weight, scale, bits) * _by_channel(scale, weight)).to(weight.dtype)


def quantized_values(values: Tensor, rows: Tensor, outputs: int, bits: int) -> Tensor:
    """Return the existing weights of a sparse matrix, rounded to the same bits as by `quantized`.

    Args:
        values: (n,), its existing weights.
        rows: int64 (n,), the output channel of each value.
        outputs: number of output channels.
        bits: 8 or 4.

    Returns:
        (n,), of the dtype of `values`.
    """
    precise = values.detach().float()
    largest = precise.new_zeros(outputs).scatter_reduce_(0, rows, precise.abs(), "amax")
    step = _step(largest, bits).index_select(0, rows)
    code = _largest_code(bits)
    return (precise / step).round_().clamp_(-code, code).mul_(step).to(values.dtype)


def clipped(weight: Tensor, bits: int) -> Tensor:
    """Return the weights clipped, per output channel, where rounding them has the smallest error.

    The squared errors of clipping at 1, 0.95, … 0.4 times the channel's largest weight are
    compared; of equal ones the largest limit wins.

    Args:
        weight: float32 (outputs, …).
        bits: 8 or 4.

    Returns:
        Tensor of the same shape, clipped and not rounded yet.
    """
    flat = weight.detach().flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    best, least = flat, (quantized(flat, bits) - flat).square().sum(1, keepdim=True)
    for cut in _CUTS[1:]:
        tried = flat.clamp(-cut * largest, cut * largest)
        error = (quantized(tried, bits) - flat).square().sum(1, keepdim=True)
        best = torch.where(error < least, tried, best)
        least = torch.minimum(error, least)
    return best.view_as(weight)


def _codes(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    largest = _largest_code(bits)
    steps = weight.detach().float() / _by_channel(scale, weight)
    return steps.round_().clamp_(-largest, largest)


def _by_channel(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))


def _largest_code(bits: int) -> int:
    return (1 << (bits - 1)) - 1


def affine(bounds: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step and the code of zero for inputs within bounds.

    Args:
        bounds: float32 (2,), the smallest and the largest value; widened to contain zero.

    Returns:
        Two scalars: the step, float32 and positive, and the code of zero, int64 in [0, 255].
    """
    low, high = bounds[0].clamp(max=0.0), bounds[1].clamp(min=0.0)
    step = (high - low) / INPUT_LEVELS
    step = torch.where(step >= torch.finfo(torch.float32).tiny, step, 1.0)
    return step, (-low / step).round().clamp(0, INPUT_LEVELS).long()


def quantized_inputs(inputs: Tensor, bounds: Tensor) -> Tensor:
    """Return a layer's inputs rounded to 256 values between `bounds`; values outside are clipped.

    The gradient passes straight through the rounding, and is zero where a value was clipped.

    Args:
        inputs: floating-point, of any shape.
        bounds: float32 (2,), the smallest and the largest value, on the device of `inputs`.
    """
    step, zero = affine(bounds)
    rounded: Tensor
    rounded, _ = _StraightThrough.apply(inputs, step, zero)  # type: ignore[no-untyped-call]
    return rounded


class _StraightThrough(torch.autograd.Function):
    """Rounding forwards, the identity backwards within the bounds.

    Reference: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons",
    2013.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, step: Tensor, zero: Tensor) -> tuple[Tensor, Tensor]:
        """Return `inputs` on the grid, and where they were not clipped."""
        code = (inputs.float() / step).round_().add_(zero)
        unclipped = (code >= 0) & (code <= INPUT_LEVELS)
        return code.clamp(0, INPUT_LEVELS).sub_(zero).mul_(step).to(inputs.dtype), unclipped

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Save where inputs were not clipped, for the gradient."""
        del inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the inputs."""
        (unclipped,) = ctx.saved_tensors
        return gradients[0] * unclipped, None, None
