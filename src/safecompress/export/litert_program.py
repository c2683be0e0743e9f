"""`program_of`, `session_of`: a module as a LiteRT program, and a program opened to be timed.

`litert-torch` lowers a module through StableHLO, without TensorFlow; `ai-edge-quantizer` rounds
weights in the program that results. An open number of rows is not lowered: its code for the shapes
of most models wants numbers. So a program takes one row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from safecompress.errors import ConfigError, ModelError
from safecompress.export.format import Session
from safecompress.export.graph import PositionalModule, in_fp32, quiet, reason_of
from safecompress.export.loaders.litert_loader import loader
from safecompress.protocols import Inputs, tensors_of

INSTALL = "pip install 'safecompress[litert]'"
_RECIPES = {"int8": "dynamic_wi8_afp32", "int4": "dynamic_wi4_afp32"}
"""Of ai-edge-quantizer: symmetric weights with a scale per channel, so that zeros stay zeros."""


def program_of(module: nn.Module, members: Inputs, *, values: str) -> bytes:
    """Return a module as the bytes of a `.tflite` program for one row.

    Args:
        module: computed in evaluation mode, in fp32.
        members: model-ready inputs; only the shapes of a row are used.
        values: `fp32`, `int8` or `int4`.

    Raises:
        ConfigError: when litert-torch is not installed.
        ModelError: when the module cannot be lowered.
    """
    try:
        with quiet():
            import litert_torch
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
    module, members = in_fp32(module, members)
    by_place = PositionalModule.of(module, members).eval()
    row = tuple(t[:1].cpu().contiguous() for t in tensors_of(members))
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            litert_torch.convert(by_place, row).export(str(path))
            return path.read_bytes() if values == "fp32" else _rounded(path, values)
    except Exception as error:
        raise ModelError(
            f"export: the model cannot be lowered to LiteRT ({reason_of(error)}). Its forward must "
            "be traceable; the ONNX formats take more operators, the safetensors formats any model."
        ) from error


def session_of(path: Path, *, threads: int) -> Session:
    """Open a program to measure its latency, row by row.

    Args:
        path: the file.
        threads: of the runtime inside one operator, at least 1.

    Raises:
        ConfigError: when LiteRT is not installed.
    """
    try:
        load = loader(threads)
    except ImportError as error:
        raise ConfigError(f"measure: {error.name} is not installed; {INSTALL}.") from error
    ask = load(str(path))

    def answer(feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(ask(feed), np.float32)

    return Session(f"LiteRT {version('ai-edge-litert')}, XNNPACK", answer)


def _rounded(path: Path, values: str) -> bytes:
    from ai_edge_quantizer import quantizer, recipe

    rule = getattr(recipe, _RECIPES[values])()
    return bytes(quantizer.Quantizer(str(path), rule).quantize().quantized_model)
