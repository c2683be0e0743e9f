"""One model in every form it can be written in; each graph is made once."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from safecompress.data import Preprocessor
from safecompress.errors import ConfigError
from safecompress.export.compact import compact_bytes, stream_cuts, zstd
from safecompress.export.dynamic_int8 import dynamic
from safecompress.export.executorch_file import signed_program
from safecompress.export.executorch_program import load_method, most_rows, program_of
from safecompress.export.formats import FORMATS, ZSTD, Format, format_named
from safecompress.export.front import with_preprocessing
from safecompress.export.graph import graph_of, input_names
from safecompress.export.integrity import signed
from safecompress.export.self_decoding import self_decoding
from safecompress.export.static_int8 import quantized
from safecompress.export.trained_int8 import trained
from safecompress.files import make_folder, write_bytes
from safecompress.protocols import Inputs, leading_size, map_inputs, tensors_of
from safecompress.topology import Topology
from safecompress.train import input_bounds
from safecompress.transforms import PLAIN, Quantization, attach_

CALIBRATION = 512
"""Members that fix the ranges of activations."""


class Forms:
    """A module and its topology, and the forms they can be written in.

    Args:
        module: plain, with float32 weights; copied, and missing weights set to zero.
        topology: which of its weights exist.
        members: inputs of rows the model was trained on, as the module takes them: they show the
            shapes, and the activations of some of them fix the ranges of int8.
        preprocessor: to be put in front of ONNX graphs; None leaves them as the module is.
        raw_type: of the raw rows the preprocessor takes.
        numbers: steps and ranges the weights were trained with; whole numbers are those. Ranges
            that are not known are those of the members' activations.
    """

    def __init__(
        self,
        module: nn.Module,
        topology: Topology,
        members: Inputs,
        *,
        preprocessor: Preprocessor | None = None,
        raw_type: np.dtype[Any] | None = None,
        numbers: Quantization | None = None,
    ) -> None:
        self.module = deepcopy(module).cpu().eval()
        self.topology = topology
        topology.apply_(self.module)
        n = leading_size(members)
        if n == 0:
            raise ConfigError("export: no members; their activations fix the ranges of int8.")
        at = np.unique(np.linspace(0, n - 1, min(n, CALIBRATION)).astype(np.int64))
        self._members = map_inputs(lambda t: t[at].cpu(), members)
        self._preprocessor, self._raw_type = preprocessor, raw_type
        self.numbers = numbers
        if numbers is not None:
            # The graph gets the rounding of layers' inputs by operators of its own.
            attach_(self.module, PLAIN)

    @cached_property
    def _fp32(self) -> Any:
        return graph_of(self.module, self._members)

    @cached_property
    def _int8(self) -> Any:
        return self._integer("int8")

    @cached_property
    def _dynamic(self) -> Any:
        return dynamic(self._fp32, self._state(), self.numbers)

    @cached_property
    def _int4(self) -> Any:
        return self._integer("int4")

    def _integer(self, values: str) -> Any:
        if self.numbers is None:
            return quantized(self._fp32, self._feed(), weights=values)
        ranges = self.numbers.ranges or input_bounds(self.module, self._members)
        return trained(
            self._fp32, self._state(), replace(self.numbers, ranges=ranges), values=values
        )

    def _state(self) -> dict[str, NDArray[Any]]:
        return {name: t.cpu().numpy() for name, t in self.module.state_dict().items()}

    def _feed(self) -> Mapping[str, NDArray[Any]]:
        names = [value.name for value in self._fp32.graph.input]
        arrays = [t.numpy() for t in tensors_of(self._members)]
        return dict(zip(names, arrays, strict=True))

    def graph(self, form: Format) -> Any:
        """Return the `onnx.ModelProto` of an ONNX format, unsigned."""
        if form.dynamic:
            graph = self._dynamic
        elif form.integer:
            graph = self._int4 if form.values == "int4" else self._int8
        else:
            graph = self._fp32
        if form.sparse:
            graph = self_decoding(graph, values=form.values)
        if self._preprocessor is not None and self._raw_type is not None:
            graph = with_preprocessing(graph, self._preprocessor, self._raw_type)
        return graph

    def written(self, form: Format, facts: Mapping[str, Any], *, packed: bool = False) -> bytes:
        """Return the bytes of a file.

        Args:
            form: what it is.
            facts: JSON values that go into it.
            packed: whether it is packed with zstd as a whole.
        """
        if form.container == "onnx":
            data = signed(self.graph(form), facts)
            return zstd(data) if packed else data
        if form.container == "executorch":
            program = program_of(self.module, self._members, values=form.values)
            rows = most_rows(load_method(program, "export"))
            named = {"inputs": list(input_names(self._members)), "rows": rows}
            return signed_program(program, {**facts, **named})
        state = self.module.state_dict()
        data = compact_bytes(
            state,
            self.topology,
            values=form.values,
            squeezed=packed,
            facts=facts,
            numbers=self.numbers,
        )
        return zstd(data, cuts=stream_cuts(data)) if packed else data


def export_module(
    module: nn.Module,
    topology: Topology,
    path: str | Path,
    *,
    members: Inputs,
    format: str = "onnx-sparse-int8",  # noqa: A002 - what the command line calls it
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
        format: name of a format, see `FORMATS`.
        facts: JSON values that go into the file.
        numbers: of a module with fake-quantized weights, its steps and ranges, which the file gets.

    Raises:
        ConfigError: on an unknown format, or when a package is missing.
        ModelError: when the model cannot be written in that format.
        StorageError: when the file cannot be written.
    """
    form, path = format_named(format), Path(path)
    data = Forms(module, topology, members, numbers=numbers).written(
        form, {"format": form.name, **(facts or {})}, packed=packed(path, form)
    )
    make_folder(path.parent)
    write_bytes(path, data)
    return path


def packed(path: Path, form: Format) -> bool:
    """Return whether a file of that name is packed with zstd.

    Raises:
        ConfigError: for a runtime that could not read it then.
    """
    wanted = path.suffix.lower() == ZSTD
    if wanted and form.container != "safetensors":
        compact = [f.name for f in FORMATS.values() if f.container == "safetensors"]
        runtime = "ONNX" if form.container == "onnx" else "ExecuTorch"
        raise ConfigError(
            f"{path}: no {runtime} runtime reads {ZSTD}; pack the file for its way, or choose one "
            f"of {', '.join(compact)}."
        )
    return wanted
