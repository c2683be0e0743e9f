"""`quantize_after_training`: round a trained model's weights and inputs without more training."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from safecompress.models.adapt import call
from safecompress.protocols import Inputs, Rows, leading_size, map_inputs
from safecompress.topology import Topology
from safecompress.train.predict import full_precision, mode
from safecompress.transforms import (
    PLAIN,
    Quantization,
    Transforms,
    attach_,
    clipped,
    quantized,
    ranges_of,
    weight_scale,
)

_BATCH = 512


@dataclass(frozen=True)
class PostTraining:
    """A model that was quantized after training.

    Args:
        module: computes with rounded weights, and rounds its layers' inputs.
        topology: which weights exist, the same as in the model before.
        numbers: steps of weights and ranges of inputs, for an export to integers.
    """

    module: nn.Module
    topology: Topology
    numbers: Quantization


def quantize_after_training(
    module: nn.Module,
    members: Rows,
    *,
    bits: int = 8,
    activations: bool = True,
    topology: Topology | None = None,
) -> PostTraining:
    """Return a copy of a trained model whose weights have few bits.

    Each output channel's weights are cut off where the squared error of rounding is smallest. The
    range of a layer's inputs is that of its inputs over all members.

    Args:
        module: a trained model, left as it is.
        members: rows that the model was trained on; rows of the audit must not influence it.
        bits: bits of a weight, 8 or 4.
        activations: whether inputs of linear and convolution layers are rounded to 8 bits.
        topology: which weights exist, all by default; the others stay zero.

    Raises:
        ConfigError: on another number of bits.
        ModelError: when the topology belongs to another model.

    Reference: Banner et al., "Post Training 4-bit Quantization of Convolutional Networks", NeurIPS
    2019, for the cut.
    """
    smaller = copy.deepcopy(module)
    attach_(smaller, Transforms())
    topology = topology or Topology.dense(smaller)
    topology.apply_(smaller)
    transforms = Transforms(bits=bits, activations=activations)
    if activations:
        # Ranges are measured before weights are rounded, so that they do not depend on the bits.
        transforms = Transforms(bits, activations, input_bounds(smaller, members.inputs))
    with torch.no_grad():
        for _, parameter in _named(smaller, topology):
            parameter.copy_(quantized(clipped(parameter, bits), bits))
    attach_(smaller, transforms)
    scales = {name: weight_scale(p, bits) for name, p in _named(smaller, topology)}
    return PostTraining(smaller.eval(), topology, Quantization(bits, scales, transforms.ranges))


def _named(module: nn.Module, topology: Topology) -> list[tuple[str, nn.Parameter]]:
    return [(n, p) for n, p in module.named_parameters() if n in topology.masks]


def input_bounds(module: nn.Module, members: Inputs) -> dict[str, torch.Tensor]:
    """Return per linear or convolution layer the smallest and largest input, float32 (2,).

    Args:
        module: any model; hooks that round its inputs are removed, everything else is left as it
            is.
        members: inputs of rows that the model was trained on; rows of the audit must not influence
            the ranges.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    bounds: dict[str, torch.Tensor] = {}
    with torch.inference_mode(), mode(module, training=False), full_precision(device):
        for index in torch.split(torch.arange(leading_size(members)), _BATCH):
            # A quantizer clips inputs to the moving average of the ranges it has measured. A new
            # one for each batch measures the batch's own range and clips nothing.
            quantizers = attach_(module, Transforms(activations=True))
            for quantizer in quantizers.values():
                quantizer.watching = True
            call(module, map_inputs(lambda t, at=index: t[at].to(device), members))  # type: ignore[misc]
            for name, new in ranges_of(quantizers).items():
                known = bounds.get(name, new)
                bounds[name] = torch.stack([new[0].minimum(known[0]), new[1].maximum(known[1])])
    attach_(module, PLAIN)
    return {name: torch.clone(pair) for name, pair in bounds.items()}
