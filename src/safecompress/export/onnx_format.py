"""The ONNX formats, for stock onnxruntime: fp32, static int8, dynamic int8, and their sparse forms.

Those of one model share its graphs, each of which is made once.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from safecompress.errors import ConfigError
from safecompress.export import loaders
from safecompress.export.context import ExportContext
from safecompress.export.dynamic_int8 import dynamic
from safecompress.export.format import Feed, Format, Predict, Session
from safecompress.export.front import with_preprocessing
from safecompress.export.graph import INSTALL, graph_of
from safecompress.export.integrity import signed, verified
from safecompress.export.registry import FORMATS
from safecompress.export.self_decoding import self_decoding
from safecompress.export.static_int8 import quantized
from safecompress.export.trained_int8 import trained
from safecompress.protocols import tensors_of
from safecompress.targets.onnx_file import open_onnx
from safecompress.train import input_bounds

_SHARED_RANGE = (
    "Rows that are asked in one call share the ranges that their numbers are rounded by, so an "
    "answer depends a little on the rows beside it; the retest asked one row at a time."
)


@dataclass(frozen=True)
class OnnxGraphs:
    """A model's graphs with weights of each kind, every one an `onnx.ModelProto` made once.

    Args:
        context: the model.
    """

    context: ExportContext

    @cached_property
    def fp32(self) -> Any:
        """The graph as torch exports it."""
        return graph_of(self.context.module, self.context.members)

    @cached_property
    def int8(self) -> Any:
        """The graph in static int8."""
        return self._static("int8")

    @cached_property
    def int4(self) -> Any:
        """The graph in static int8 with weights from -7 to 7."""
        return self._static("int4")

    @cached_property
    def dynamic(self) -> Any:
        """The graph with linear layers and tables in dynamic int8."""
        return dynamic(self.fp32, self._state(), self.context.numbers)

    def _static(self, values: str) -> Any:
        numbers = self.context.numbers
        if numbers is None:
            return quantized(self.fp32, self._feed(), weights=values)
        ranges = numbers.ranges or input_bounds(self.context.module, self.context.members)
        return trained(self.fp32, self._state(), replace(numbers, ranges=ranges), values=values)

    def _state(self) -> dict[str, NDArray[Any]]:
        return {name: t.cpu().numpy() for name, t in self.context.module.state_dict().items()}

    def _feed(self) -> Feed:
        names = [value.name for value in self.fp32.graph.input]
        arrays = [t.numpy() for t in tensors_of(self.context.members)]
        return dict(zip(names, arrays, strict=True))


class OnnxFormat(Format, ABC):
    """A file for stock onnxruntime, with the preprocessing inside where operators can express it.

    Attributes:
        values: what a weight's numbers are in the file.
        dynamic: whether each call finds the ranges that activations are rounded by; otherwise
            they are those of members.
        sparse: whether weights are written without their zeros and decode themselves.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    requires: ClassVar[frozenset[str]] = frozenset({"export"})
    prepares: ClassVar[bool] = True
    computes: ClassVar[bool] = True
    loader: ClassVar[Path | None] = loaders.ONNX
    values: ClassVar[Literal["fp32", "fp16", "int8", "int4"]] = "fp32"
    dynamic: ClassVar[bool] = False
    sparse: ClassVar[bool] = False

    def graph(self, context: ExportContext) -> Any:
        """Return the file's `onnx.ModelProto`, unsigned.

        Args:
            context: the model.
        """
        graphs = context.once(OnnxGraphs)
        if self.dynamic:
            graph = graphs.dynamic
        elif self.values == "int8":
            graph = graphs.int8
        else:
            graph = graphs.int4 if self.values == "int4" else graphs.fp32
        if self.sparse:
            graph = self_decoding(graph, values=self.values)
        if context.preprocessor is not None and context.raw_type is not None:
            graph = with_preprocessing(graph, context.preprocessor, context.raw_type)
        return graph

    def write(self, context: ExportContext, facts: Mapping[str, Any]) -> bytes:
        return signed(self.graph(context), facts)

    def open(self, path: Path, context: ExportContext) -> Predict:
        del context
        # A file that guesses is no reason to stop: the comparison with the model says so.
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
        threads: inside an operator.

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


@dataclass(frozen=True)
class OnnxInt8(OnnxFormat):
    """Static int8: activations uint8, weights int8 with a scale per output channel."""

    name = "onnx-int8"
    summary = "fast where there are int8 instructions"
    exact = False
    rounds_inputs = True
    values = "int8"


@dataclass(frozen=True)
class OnnxInt8Dynamic(OnnxFormat):
    """Int8 for linear layers and tables; each call finds the ranges of its layers' inputs."""

    name = "onnx-int8-dynamic"
    summary = "linear layers and texts"
    exact = False
    limits = (_SHARED_RANGE,)
    values = "int8"
    dynamic = True


@dataclass(frozen=True)
class OnnxSparse(OnnxFormat):
    """Weights in fp32 without their zeros; the same outputs, bit for bit, as `onnx`."""

    name = "onnx-sparse"
    summary = "small, the very same outputs"
    sparse = True


@dataclass(frozen=True)
class OnnxSparseFp16(OnnxFormat):
    """Weights in half precision without their zeros; computes in fp32."""

    name = "onnx-sparse-fp16"
    summary = "smaller; computes in fp32"
    exact = False
    values = "fp16"
    sparse = True


@dataclass(frozen=True)
class OnnxSparseInt8(OnnxFormat):
    """Static int8 without zeros; the same outputs, bit for bit, as `onnx-int8`."""

    name = "onnx-sparse-int8"
    summary = "small and fast"
    exact = False
    rounds_inputs = True
    values = "int8"
    sparse = True


@dataclass(frozen=True)
class OnnxSparseInt8Dynamic(OnnxFormat):
    """Dynamic int8 without zeros; the same outputs, bit for bit, as `onnx-int8-dynamic`."""

    name = "onnx-sparse-int8-dynamic"
    summary = "the same, small"
    exact = False
    limits = (_SHARED_RANGE,)
    values = "int8"
    dynamic = True
    sparse = True


@dataclass(frozen=True)
class OnnxSparseInt4(OnnxFormat):
    """Values of 4 bits without zeros; computes as static int8."""

    name = "onnx-sparse-int4"
    summary = "smallest that runs; computes in int8"
    exact = False
    rounds_inputs = True
    values = "int4"
    sparse = True


for _form in (
    Onnx,
    OnnxInt8,
    OnnxInt8Dynamic,
    OnnxSparse,
    OnnxSparseFp16,
    OnnxSparseInt8,
    OnnxSparseInt8Dynamic,
    OnnxSparseInt4,
):
    FORMATS.add(_form.name, _form, summary=_form.summary)
