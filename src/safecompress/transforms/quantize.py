"""Rounding to few bits, computed in fp32: weights per output channel, layer inputs per tensor.

Weights are symmetric, so a weight that does not exist stays exactly zero; a channel's largest
weight is on the grid, so nothing is clipped. Inputs are unsigned and asymmetric with zero on the
grid, so padding stays exactly zero. Both are the arithmetic of ONNX's `QuantizeLinear` and
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
"""Sizes of a weight that runtimes can compute with."""

INPUT_LEVELS = 255
"""Largest code of a layer's input, uint8."""

_LOW_BITS = 0xFF
_CUTS = tuple(1.0 - 0.05 * i for i in range(13))


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """Return the step between two neighboring values of each output channel.

    The largest weight of a channel over the largest code, rounded up to 16 significant bits: then
    every code times the step is exact in fp32, and quantizing what is quantized changes no bit.

    Args:
        weight: float32 (outputs, …).
        bits: 8 or 4; codes are in [-127, 127] or [-7, 7].

    Returns:
        Tensor (outputs,), positive; 1 where a channel is all zero.

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
    # Below the smallest normal number a step has no 16 bits to round to; such a channel is zero.
    return torch.where(rounded >= torch.finfo(torch.float32).tiny, rounded, 1.0)


def codes(weight: Tensor, bits: int) -> Tensor:
    """Return the weights as integers, int8 (outputs, …); `weight_scale` gives their step."""
    return _codes(weight, weight_scale(weight, bits), bits).to(torch.int8)


def quantized(weight: Tensor, bits: int) -> Tensor:
    """Return the weights rounded to the grid, of the same shape and type."""
    scale = weight_scale(weight, bits)
    return (_codes(weight, scale, bits) * _by_channel(scale, weight)).to(weight.dtype)


def quantized_values(values: Tensor, rows: Tensor, outputs: int, bits: int) -> Tensor:
    """Return the existing weights of a sparse matrix rounded, the same bits as `quantized` gives.

    Args:
        values: (n,), its existing weights.
        rows: int64 (n,), the output channel that each belongs to.
        outputs: number of output channels.
        bits: 8 or 4.
    """
    fine = values.detach().float()
    largest = fine.new_zeros(outputs).scatter_reduce_(0, rows, fine.abs(), "amax")
    step = _step(largest, bits).index_select(0, rows)
    code = _largest_code(bits)
    return (fine / step).round_().clamp_(-code, code).mul_(step).to(values.dtype)


def clipped(weight: Tensor, bits: int) -> Tensor:
    """Return the weights cut off, per output channel, where rounding them then errs least.

    The squared error is compared for cuts from the channel's largest weight down to 0.4 of it; of
    equal ones the largest counts.

    Args:
        weight: float32 (outputs, …).
        bits: 8 or 4.
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
        bounds: float32 (2,), the smallest and the largest value; widened to hold zero.

    Returns:
        Scalars: the step, float32 and positive, and the code of zero, an int64 in [0, 255].
    """
    low, high = bounds[0].clamp(max=0.0), bounds[1].clamp(min=0.0)
    step = (high - low) / INPUT_LEVELS
    step = torch.where(step >= torch.finfo(torch.float32).tiny, step, 1.0)
    return step, (-low / step).round().clamp(0, INPUT_LEVELS).long()


def quantized_inputs(inputs: Tensor, bounds: Tensor) -> Tensor:
    """Return a layer's inputs rounded to 256 values between `bounds`, values outside cut off.

    The gradient passes straight through the rounding, and not at all where a value was cut off.
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
        """Return `inputs` on the grid, and where they were not cut off."""
        code = (inputs.float() / step).round_().add_(zero)
        inside = (code >= 0) & (code <= INPUT_LEVELS)
        return code.clamp(0, INPUT_LEVELS).sub_(zero).mul_(step).to(inputs.dtype), inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the gradient needs."""
        del inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the inputs."""
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None
