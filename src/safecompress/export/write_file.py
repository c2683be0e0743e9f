"""`export_module`: any module as a file, without tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from safecompress.export.context import ExportContext
from safecompress.export.registry import FormatRequest, format_for
from safecompress.export.written import write_files
from safecompress.files import make_folder
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
    """Write any module as a file without testing it; `export` writes and tests the file of a run.

    Args:
        module: a plain module with float32 weights, without channels that were removed and with
            quantized weights already rounded; it is not changed.
        topology: which of its weights exist; `Topology.dense(module)` where all do.
        path: the file; a compact file whose name ends in `.zst` is packed with zstd.
        members: model-ready inputs of rows that it was trained on, at least one; they fix the
            ranges of static int8.
        format: a format, its name, or `{name: {option: value}}`; see `FORMATS`.
        facts: JSON values by name that go into the file.
        numbers: scales and ranges of quantization-aware training, which the file then uses.

    Returns:
        `path`.

    Raises:
        ConfigError: on an unknown format, no members, or a missing package.
        ModelError: when the model cannot be written in that format.
        StorageError: when the file cannot be written.
    """
    path = Path(path)
    form = format_for(format, path)
    context = ExportContext.of(module, topology, members, numbers=numbers)
    data = form.write(context, {"format": form.name, **(facts or {})})
    make_folder(path.parent)
    write_files(form, path, data)
    return path
