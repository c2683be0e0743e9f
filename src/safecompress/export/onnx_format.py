"""`OnnxFormat` and the formats `onnx*`: files for stock onnxruntime, dense and sparse.

Files of one context share their graphs: `OnnxGraphs` makes each of them once.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from safecompress.errors import ConfigError
from safecompress.export import loaders
from safecompress.export.context import ExportContext
from safecompress.export.format import FP32, INT8, INT8_WEIGHTS, Format, Predict, Session
from safecompress.export.front import with_preprocessing
from safecompress.export.graph import INSTALL
from safecompress.export.integrity import signed, verified
from safecompress.export.onnx_graphs import Fp32, OnnxGraphs
from safecompress.export.outside import inlined
from safecompress.export.registry import FORMATS
from safecompress.export.self_decoding import self_decoding
from safecompress.targets.onnx_file import open_onnx

_SHARED_RANGE = (
    "Rows that are asked in one call share the ranges that their numbers are rounded by, so an "
    "answer depends a little on the rows beside it; the retest asked one row at a time."
)


class OnnxFormat(Format, ABC):
    """A file for stock onnxruntime, with the preprocessing inside where operators can express it.

    Attributes:
        values: number format of the weights in the file.
        dynamic: whether activations are rounded by their range in the call; otherwise by their
            range over members.
        sparse: whether weights are stored without their zeros and decoded by operators at load.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    requires: ClassVar[frozenset[str]] = frozenset({"export"})
    prepares: ClassVar[bool] = True
    computes: ClassVar[bool] = True
    loader: ClassVar[Path | None] = loaders.ONNX
    usage: ClassVar[str] = (
        "import onnxruntime\n\n"
        "session = onnxruntime.InferenceSession({file})\n"
        "inputs = {wanted.name: rows for wanted in session.get_inputs()}  # an array each\n"
        "(logits,) = session.run(None, inputs)"
    )
    values: ClassVar[Literal["fp32", "fp16", "int8", "int4"]] = "fp32"
    dynamic: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def graph(self, context: ExportContext) -> Any:
        """Return the file's `onnx.ModelProto`, unsigned.

        Args:
            context: the model, and the preprocessing if the file takes raw rows.
        """
        graphs, outside = context.once(OnnxGraphs), context.once(Fp32).outside
        if self.dynamic:
            graph = graphs.dynamic
        elif self.values == "int8":
            graph = graphs.int8
        else:
            graph = graphs.int4 if self.values == "int4" else graphs.fp32
        if self.sparse:
            graph = self_decoding(graph, values=self.values, outside=outside)
        graph = inlined(graph, outside)
        if context.preprocessor is not None and context.raw_type is not None:
            graph = with_preprocessing(graph, context.preprocessor, context.raw_type)
        return graph

    def layers(self, context: ExportContext) -> Mapping[str, str]:
        # Numbers that a candidate was trained with are kept as they were judged.
        if self.values not in {"int8", "int4"} or context.numbers is not None:
            return {}
        return context.once(Fp32).layers()

    def shares(self) -> tuple[Callable[[ExportContext], Any], ...]:
        return (Fp32,)

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        return signed(self.graph(context), facts)

    def open(self, path: Path, context: ExportContext) -> Predict:
        del context
        # A file that guesses need not be refused: the retest compares it with the model.
        model: Predict = open_onnx(path).model
        return model

    def verify(self, path: Path) -> dict[str, Any]:
        return verified(path)[1]

    def session(self, path: Path, *, threads: int) -> Session:
        return onnx_session(path, threads=threads)


def onnx_session(path: Path, *, threads: int) -> Session:
    """Open any ONNX file in stock onnxruntime on the CPU, to measure its latency.

    Args:
        path: the file.
        threads: of onnxruntime inside one operator, at least 1.

    Raises:
        ConfigError: when onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"measure: onnxruntime is not installed; {INSTALL}.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    opened = onnxruntime.InferenceSession(
        str(path.resolve()), sess_options=options, providers=["CPUExecutionProvider"]
    )
    runtime = f"onnxruntime {onnxruntime.__version__}, CPUExecutionProvider"
    return Session(runtime, lambda feed: opened.run(None, dict(feed)))


@dataclass(frozen=True)
class Onnx(OnnxFormat):
    """Weights and activations in fp32, every zero in the file."""

    name = "onnx"
    summary = "any runtime"


FORMATS.add("onnx", Onnx, summary=Onnx.summary)


@dataclass(frozen=True)
class OnnxInt8(OnnxFormat):
    """Static int8: activations uint8, weights int8 with a scale per output channel."""

    name = "onnx-int8"
    summary = "fast where there are int8 instructions"
    exact = False
    rounds_inputs = True
    values = "int8"
    finer = (INT8_WEIGHTS, FP32)


FORMATS.add("onnx-int8", OnnxInt8, summary=OnnxInt8.summary)


@dataclass(frozen=True)
class OnnxInt8Dynamic(OnnxFormat):
    """Int8 for linear layers and tables; each call finds the ranges of its layers' inputs."""

    name = "onnx-int8-dynamic"
    summary = "linear layers and texts"
    exact = False
    limits = (_SHARED_RANGE,)
    values = "int8"
    finer = (INT8_WEIGHTS, FP32)
    dynamic = True


FORMATS.add("onnx-int8-dynamic", OnnxInt8Dynamic, summary=OnnxInt8Dynamic.summary)


@dataclass(frozen=True)
class OnnxSparse(OnnxFormat):
    """Weights in fp32 without their zeros; the same outputs, bit for bit, as `onnx`."""

    name = "onnx-sparse"
    summary = "small, the very same outputs"
    sparse = True


FORMATS.add("onnx-sparse", OnnxSparse, summary=OnnxSparse.summary)


@dataclass(frozen=True)
class OnnxSparseFp16(OnnxFormat):
    """Weights in half precision without their zeros; computes in fp32."""

    name = "onnx-sparse-fp16"
    summary = "smaller; computes in fp32"
    exact = False
    values = "fp16"
    sparse = True


FORMATS.add("onnx-sparse-fp16", OnnxSparseFp16, summary=OnnxSparseFp16.summary)


@dataclass(frozen=True)
class OnnxSparseInt8(OnnxFormat):
    """Static int8 without zeros; the same outputs, bit for bit, as `onnx-int8`."""

    name = "onnx-sparse-int8"
    summary = "small and fast"
    exact = False
    rounds_inputs = True
    values = "int8"
    finer = (INT8_WEIGHTS, FP32)
    sparse = True


FORMATS.add("onnx-sparse-int8", OnnxSparseInt8, summary=OnnxSparseInt8.summary)


@dataclass(frozen=True)
class OnnxSparseInt8Dynamic(OnnxFormat):
    """Dynamic int8 without zeros; the same outputs, bit for bit, as `onnx-int8-dynamic`."""

    name = "onnx-sparse-int8-dynamic"
    summary = "the same, small"
    exact = False
    limits = (_SHARED_RANGE,)
    values = "int8"
    finer = (INT8_WEIGHTS, FP32)
    dynamic = True
    sparse = True


FORMATS.add(
    "onnx-sparse-int8-dynamic", OnnxSparseInt8Dynamic, summary=OnnxSparseInt8Dynamic.summary
)


@dataclass(frozen=True)
class OnnxSparseInt4(OnnxFormat):
    """Values of 4 bits without zeros; computes as static int8."""

    name = "onnx-sparse-int4"
    summary = "smallest that runs; computes in int8"
    exact = False
    rounds_inputs = True
    values = "int4"
    finer = (INT8, INT8_WEIGHTS, FP32)
    sparse = True


FORMATS.add("onnx-sparse-int4", OnnxSparseInt4, summary=OnnxSparseInt4.summary)
