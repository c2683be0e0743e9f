"""`Transforms`, `Quantization`: the bits and the channels with which a candidate computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from safecompress.topology import Topology
from safecompress.transforms.channels import Channels
from safecompress.transforms.quantize import quantized, weight_scale

_GROUPS = ("ranges", "rows", "columns")


@dataclass(frozen=True)
class Quantization:
    """How a model's numbers are stored as integers, for exports.

    Args:
        bits: bits of a weight, 8 or 4.
        scales: per weight name float32 (outputs,), its step per output channel; codes are
            `round(weight / step)`.
        ranges: per layer name float32 (2,), the smallest and the largest input; `affine` turns them
            into step and zero point of uint8. Empty where inputs stay fp32.
    """

    bits: int
    scales: Mapping[str, Tensor]
    ranges: Mapping[str, Tensor]


@dataclass(frozen=True)
class Transforms:
    """Fake quantization and removed channels of a candidate.

    Args:
        bits: bits of every maskable weight, 8 or 4; None keeps fp32. Training moves fp32 weights,
            the model computes with their rounded values, and gradients pass straight through.
        activations: whether inputs of linear and convolution layers are rounded to 8 bits.
        ranges: per layer name float32 (2,), moving averages of the smallest and the largest input
            over the steps of training.
        channels: which channels are left.
    """

    bits: int | None = None
    activations: bool = False
    ranges: Mapping[str, Tensor] = field(default_factory=dict)
    channels: Channels = field(default_factory=Channels)

    def __bool__(self) -> bool:
        """Whether anything is transformed."""
        return self.bits is not None or self.activations or bool(self.channels)

    def shown(self, weights: Mapping[str, Tensor], topology: Topology) -> dict[str, Tensor]:
        """Return the weights that the model computes with, rounded where they are quantized.

        Args:
            weights: a state_dict; names that share one tensor share one in the result, too.
            topology: masks under the names of the maskable weights, which are those quantized.
        """
        # Held here, because an identity only means something while the tensor is there.
        weights = dict(weights)
        if self.bits is None:
            return weights
        rounded = {
            id(weights[name]): quantized(weights[name], self.bits)
            for name in topology.masks
            if name in weights
        }
        return {name: rounded.get(id(value), value) for name, value in weights.items()}

    def quantized(self, weights: Mapping[str, Tensor], topology: Topology) -> Quantization | None:
        """Return steps of weights and ranges of inputs; None where weights are not quantized.

        Args:
            weights: tensors by name, at least those of the maskable weights.
            topology: masks under the names of the maskable weights.
        """
        if self.bits is None:
            return None
        scales = {name: weight_scale(weights[name], self.bits) for name in topology.masks}
        return Quantization(self.bits, scales, dict(self.ranges))

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor under a flat `group/name` name, for a checkpoint."""
        groups = zip(_GROUPS, (self.ranges, self.channels.rows, self.channels.columns), strict=True)
        return {f"{group}/{name}": t for group, named in groups for name, t in named.items()}

    def settings(self) -> dict[str, Any]:
        """Return the fields that are not tensors, as JSON, for a checkpoint."""
        return {"bits": self.bits, "activations": self.activations}

    def facts(self) -> dict[str, Any]:
        """Return the settings and, per parameter, (channels left, all channels), as JSON."""
        left = {name: list(counts) for name, counts in self.channels.left().items()}
        return self.settings() | {"channels": left}

    @classmethod
    def from_tensors(cls, flat: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Transforms:
        """Return the transforms from what `tensors` and `settings` returned.

        Args:
            flat: tensors under `group/name`.
            settings: the decoded JSON.
        """
        groups: dict[str, dict[str, Tensor]] = {group: {} for group in _GROUPS}
        for key, tensor in flat.items():
            group, name = key.split("/", 1)
            groups[group][name] = tensor
        return cls(
            settings["bits"],
            settings["activations"],
            groups["ranges"],
            Channels(groups["rows"], groups["columns"]),
        )


PLAIN = Transforms()
"""Transforms that change nothing."""
