"""`Arithmetic`: the precision and memory format in which a stage is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from safecompress.errors import DataError
from safecompress.train.batches import Batches

MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

_SAFE_CHANNELS = 16
_VOLUMES = 5
"""Axes of the weight of a convolution over volumes."""


@dataclass(frozen=True)
class Arithmetic:
    """Precision and memory format of a stage; recorded, so that a resumed run computes the same.

    Args:
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        memory_format: `contiguous` or `channels_last`.
        rates: rows per second of the settings timed, under `precision/memory_format`; empty when
            there was nothing to choose.

    Raises:
        DataError: on an unknown precision or memory format.
    """

    precision: str = "32-true"
    memory_format: str = "contiguous"
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS or self.memory_format not in MEMORY_FORMATS:
            raise DataError(
                f"training settings: precision {self.precision!r}, memory format "
                f"{self.memory_format!r}; expected one of {', '.join(PRECISIONS)} and one of "
                f"{', '.join(MEMORY_FORMATS)}."
            )

    @property
    def torch_format(self) -> torch.memory_format:
        """The memory format as torch's own object."""
        return MEMORY_FORMATS[self.memory_format]

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON, for `from_json`."""
        return {
            "precision": self.precision,
            "memory_format": self.memory_format,
            "rates": dict(self.rates),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Arithmetic:
        """Return the settings that `to_json` wrote.

        Args:
            value: the decoded JSON.

        Raises:
            DataError: when something is missing or unknown.
        """
        try:
            rates = {str(k): float(v) for k, v in value["rates"].items()}
            return cls(value["precision"], value["memory_format"], rates)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"training settings: {value!r} lacks precision, memory_format or rates."
            ) from error


def obstacle(module: nn.Module, batches: Batches, device: torch.device) -> str:
    """Return why channels_last cannot be used, or an empty string.

    Args:
        module: the model.
        batches: batches of the stage.
        device: device of the model.
    """
    if not batches.images:
        return "it needs images (n, channels, height, width)"
    for name, parameter in module.named_parameters():
        if parameter.ndim == _VOLUMES:
            return f"'{name}' is of a convolution over volumes, for which torch has no such format"
    for name, layer in module.named_modules():
        # oneDNN writes past its buffers in the backward pass of these layers (seen with torch
        # 2.13 below 8 channels, one AVX2 register; 16 is one AVX-512 register).
        if (
            device.type == "cpu"
            and isinstance(layer, nn.Conv2d)
            and set(layer.kernel_size) == {1}
            and max(layer.stride) > 1
            and layer.in_channels < _SAFE_CHANNELS
        ):
            return (
                f"on a CPU it can crash strided 1×1 convolutions of fewer than {_SAFE_CHANNELS} "
                f"channels, as '{name}' is"
            )
    return ""
