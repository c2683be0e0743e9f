"""The formats a model can be exported in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from safecompress.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        name: as on the command line.
        container: `onnx`, for onnxruntime alone, `executorch`, for ExecuTorch's runtime, or
            `safetensors`, for `safecompress_reader`.
        values: what a weight's numbers are: `fp32`, `fp16`, `int8` or `int4`.
        sparse: whether zeros are left out of the file.
        summary: what it is good for.
        dynamic: whether activations are rounded by the range each call finds, not by members'.
    """

    name: str
    container: Literal["onnx", "executorch", "safetensors"]
    values: Literal["fp32", "fp16", "int8", "int4"]
    sparse: bool
    summary: str
    dynamic: bool = False

    @property
    def exact(self) -> bool:
        """Whether the file computes what the model does, but for the order of additions."""
        return self.values == "fp32"

    @property
    def integer(self) -> bool:
        """Whether weights are whole numbers with a scale per output channel."""
        return self.values in {"int8", "int4"}


_ALL = (
    Format("onnx", "onnx", "fp32", False, "any runtime"),
    Format("onnx-int8", "onnx", "int8", False, "fast where there are int8 instructions"),
    Format("onnx-int8-dynamic", "onnx", "int8", False, "linear layers and texts", dynamic=True),
    Format("onnx-sparse", "onnx", "fp32", True, "small, the very same outputs"),
    Format("onnx-sparse-fp16", "onnx", "fp16", True, "smaller; computes in fp32"),
    Format("onnx-sparse-int8", "onnx", "int8", True, "small and fast"),
    Format("onnx-sparse-int8-dynamic", "onnx", "int8", True, "the same, small", dynamic=True),
    Format("onnx-sparse-int4", "onnx", "int4", True, "smallest that runs; computes in int8"),
    Format("executorch", "executorch", "fp32", False, "phones and other devices, by XNNPACK"),
    Format("executorch-int8", "executorch", "int8", False, "the same in whole numbers"),
    Format("safetensors", "safetensors", "fp32", True, "weights and topology for any program"),
    Format("safetensors-fp16", "safetensors", "fp16", True, "the same in half precision"),
    Format("safetensors-int8", "safetensors", "int8", True, "the same in whole numbers"),
    Format("safetensors-int4", "safetensors", "int4", True, "the smallest file; name it .zst"),
)
FORMATS = {form.name: form for form in _ALL}
ZSTD = ".zst"


def format_named(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ConfigError: when there is none of that name.
    """
    if name not in FORMATS:
        raise ConfigError(f"format: no format is called '{name}'{did_you_mean(name, FORMATS)}")
    return FORMATS[name]
