"""`Openvino`, `OpenvinoInt8`, `OpenvinoInt4`: OpenVINO's own files, made of our ONNX graphs."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from safecompress.errors import ConfigError
from safecompress.export import loaders
from safecompress.export.context import ExportContext
from safecompress.export.format import Format, Predict, Session
from safecompress.export.onnx_format import Onnx, OnnxFormat, OnnxInt8, OnnxSparseInt4
from safecompress.export.openvino_file import INSTALL, intermediate, parts_of, verified_ir
from safecompress.export.registry import FORMATS
from safecompress.targets.device_file import open_device_file


class OpenvinoFormat(Format, ABC):
    """An `.xml` with its weights beside it in a `.bin`, for preprocessed rows.

    Attributes:
        source: the ONNX format whose graph is converted, with the same scales and ranges.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    companions: ClassVar[tuple[str, ...]] = (".bin",)
    requires: ClassVar[frozenset[str]] = frozenset({"export", "openvino"})
    computes: ClassVar[bool] = True
    loader: ClassVar[Path | None] = loaders.OPENVINO
    usage: ClassVar[str] = (
        "import openvino\n\n"
        'model = openvino.Core().compile_model({file}, "CPU")  # reads the .bin beside it\n'
        "logits = model([rows])[0]  # an array for each input"
    )
    source: ClassVar[OnnxFormat]

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        return intermediate(self.source.graph(context), facts)

    def split(self, content: bytes) -> tuple[bytes, ...]:
        return parts_of(content)

    def open(self, path: Path, context: ExportContext) -> Predict:
        del context
        model: Predict = open_device_file(path, "openvino").model
        return model

    def verify(self, path: Path) -> dict[str, Any]:
        return verified_ir(path)

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        return self.source.layers(context)

    def shares(self) -> tuple[Callable[[ExportContext], Any], ...]:
        return self.source.shares()

    def stand_in(self) -> Format:
        return self.source

    def session(self, path: Path, *, threads: int) -> Session:
        try:
            import openvino
        except ImportError as error:
            raise ConfigError(f"measure: openvino is not installed; {INSTALL}.") from error
        core = openvino.Core()
        exact = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        model = core.compile_model(core.read_model(path), "CPU", exact)
        runtime = f"OpenVINO {openvino.__version__.partition('-')[0]}, CPU"
        return Session(runtime, lambda feed: model(dict(feed))[0])


@dataclass(frozen=True)
class Openvino(OpenvinoFormat):
    """Weights and activations in fp32, every zero in the file."""

    name = "openvino"
    summary = "Intel's processors, by OpenVINO"
    source = Onnx()


FORMATS.add("openvino", Openvino, summary=Openvino.summary)


@dataclass(frozen=True)
class OpenvinoInt8(OpenvinoFormat):
    """Static int8 by the ranges of members, the numbers of `onnx-int8`."""

    name = "openvino-int8"
    summary = "the same in whole numbers"
    exact = False
    rounds_inputs = True
    source = OnnxInt8()
    finer = OnnxInt8.finer


FORMATS.add("openvino-int8", OpenvinoInt8, summary=OpenvinoInt8.summary)


@dataclass(frozen=True)
class OpenvinoInt4(OpenvinoFormat):
    """Values of 4 bits without zeros, the numbers of `onnx-sparse-int4`; decodes itself."""

    name = "openvino-int4"
    summary = "the same, small; computes in int8"
    exact = False
    rounds_inputs = True
    source = OnnxSparseInt4()
    finer = OnnxSparseInt4.finer


FORMATS.add("openvino-int4", OpenvinoInt4, summary=OpenvinoInt4.summary)
