"""`OnnxGraphs`: the graphs of one model, which its ONNX formats share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from torch import nn

from safecompress.export.context import ExportContext
from safecompress.export.dynamic_int8 import dynamic
from safecompress.export.format import Feed
from safecompress.export.graph import graph_of, in_fp32
from safecompress.export.static_int8 import quantized
from safecompress.export.trained_int8 import trained
from safecompress.protocols import Inputs, tensors_of
from safecompress.train import input_bounds


@dataclass(frozen=True)
class OnnxGraphs:
    """The graphs of a model by number format, each an `onnx.ModelProto` that is made once.

    Args:
        context: the model and the rows that fix its ranges.
    """

    context: ExportContext

    @cached_property
    def fp32(self) -> Any:
        """The graph in fp32."""
        return graph_of(*self._single)

    @cached_property
    def int8(self) -> Any:
        """The graph in static int8."""
        return self._static("int8")

    @cached_property
    def int4(self) -> Any:
        """The graph in static int8 with weights from -7 to 7, stored in 4 bits by sparse files."""
        return self._static("int4")

    @cached_property
    def dynamic(self) -> Any:
        """The graph with linear layers and embedding tables in dynamic int8."""
        return dynamic(self.fp32, self._state(), self.context.numbers)

    @cached_property
    def _single(self) -> tuple[nn.Module, Inputs]:
        return in_fp32(self.context.module, self.context.members)

    def _static(self, values: str) -> Any:
        numbers = self.context.numbers
        if numbers is None:
            return quantized(self.fp32, self._feed(), weights=values)
        ranges = numbers.ranges or input_bounds(*self._single)
        return trained(self.fp32, self._state(), replace(numbers, ranges=ranges), values=values)

    def _state(self) -> dict[str, NDArray[Any]]:
        return {name: t.cpu().numpy() for name, t in self._single[0].state_dict().items()}

    def _feed(self) -> Feed:
        names = [value.name for value in self.fp32.graph.input]
        arrays = [t.numpy() for t in tensors_of(self._single[1])]
        return dict(zip(names, arrays, strict=True))
