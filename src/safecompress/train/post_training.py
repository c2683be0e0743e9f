"""Quantization of a trained model without any training: round the weights, watch the inputs."""

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
        module: computes with rounded weights, and rounds what its layers are given.
        topology: which weights exist; those of the model before.
        numbers: steps and ranges, for who writes integers.
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
    bounds of a layer's inputs are the smallest and largest it is given for the members.

    Args:
        module: a trained model, left as it is.
        members: rows that the model was trained on; nobody else's may shape it.
        bits: bits of a weight, 8 or 4.
        activations: whether inputs of linear and convolution layers are rounded to 8 bits.
        topology: which weights exist; all by default. The others stay zero.

    Raises:
        ConfigError: on another number of bits.
        ModelError: when the topology belongs to another model.

    Reference: Banner et al., "Post Training 4-bit Quantization of Convolutional Networks", NeurIPS
    2019, for the cut.
    """
    made = copy.deepcopy(module)
    attach_(made, Transforms())
    topology = topology or Topology.dense(made)
    topology.apply_(made)
    transforms = Transforms(bits=bits, activations=activations)
    if activations:
        # Bounds are those of the model before its weights are rounded.
        transforms = Transforms(bits, activations, input_bounds(made, members.inputs))
    with torch.no_grad():
        for _, parameter in _named(made, topology):
            parameter.copy_(quantized(clipped(parameter, bits), bits))
    attach_(made, transforms)
    scales = {name: weight_scale(p, bits) for name, p in _named(made, topology)}
    return PostTraining(made.eval(), topology, Quantization(bits, scales, transforms.ranges))


def _named(module: nn.Module, topology: Topology) -> list[tuple[str, nn.Parameter]]:
    return [(n, p) for n, p in module.named_parameters() if n in topology.masks]


def input_bounds(module: nn.Module, members: Inputs) -> dict[str, torch.Tensor]:
    """Return per linear or convolution layer the bounds of what it is given, float32 (2,).

    Args:
        module: computes as it is while it is watched, and keeps no hook.
        members: inputs of rows that the model was trained on; nobody else's may shape it.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    bounds: dict[str, torch.Tensor] = {}
    with torch.inference_mode(), mode(module, training=False), full_precision(device):
        for index in torch.split(torch.arange(leading_size(members)), _BATCH):
            # Anew for each batch, so that inputs pass as they are and are watched as they are.
            quantizers = attach_(module, Transforms(activations=True))
            for quantizer in quantizers.values():
                quantizer.watching = True
            call(module, map_inputs(lambda t, at=index: t[at].to(device), members))  # type: ignore[misc]
            for name, seen in ranges_of(quantizers).items():
                known = bounds.get(name, seen)
                bounds[name] = torch.stack([seen[0].minimum(known[0]), seen[1].maximum(known[1])])
    attach_(module, PLAIN)
    return {name: torch.clone(seen) for name, seen in bounds.items()}
