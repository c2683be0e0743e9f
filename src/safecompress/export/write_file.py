"""`export_module`: any module as a file, untested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.export.context import ExportContext
from safecompress.export.registry import FormatRequest, format_for
from safecompress.files import make_folder, write_bytes
from safecompress.protocols import Inputs
from safecompress.topology import Topology
from safecompress.transforms import Quantization


def export_module(
    module: nn.Module,
    topology: Topology,
    path: str | Path,
    *,
    members: Inputs,
    format: FormatRequest = "onnx-sparse-int8",  # noqa: A002 - what the command line calls it
    facts: Mapping[str, Any] | None = None,
    numbers: Quantization | None = None,
) -> Path:
    """Write a module's file, untested; `export` tests that of a run as well.

    Args:
        module: plain, float32; channels that were removed are gone from it, fake quantization is
            folded into its weights.
        topology: which of its weights exist; `Topology.dense(module)` where all do.
        path: the file; a compact file whose name ends in `.zst` is packed with zstd.
        members: inputs of some rows it was trained on, as the module takes them.
        format: a format, its name, or its name with options; see `FORMATS`.
        facts: JSON values that go into the file.
        numbers: of a module with fake-quantized weights, its steps and ranges, which the file gets.

    Raises:
        ConfigError: on an unknown format, or when a package is missing.
        ModelError: when the model cannot be written in that format.
        StorageError: when the file cannot be written.
    """
    path = Path(path)
    form = format_for(format, path)
    context = ExportContext.of(module, topology, members, numbers=numbers)
    data = form.write(context, {"format": form.name, **(facts or {})})
    make_folder(path.parent)
    write_bytes(path, data)
    return path
