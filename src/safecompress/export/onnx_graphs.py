"""`OnnxGraphs`, `Fp32`: the graphs of one model, which its ONNX formats share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.export.context import ExportContext
from safecompress.export.dynamic_int8 import dynamic
from safecompress.export.graph import graph_of, in_fp32
from safecompress.export.layers import layer_of
from safecompress.export.outside import array_of
from safecompress.export.ranges import Ranges
from safecompress.export.static_int8 import quantized
from safecompress.export.trained_int8 import trained
from safecompress.protocols import tensors_of
from safecompress.train import input_bounds


class Fp32:
    """A model's graph in fp32, and what is measured in it.

    Args:
        context: the model, and the rows that fix its ranges.
    """

    def __init__(self, context: ExportContext) -> None:
        self.module, self.members = in_fp32(context.module, context.members)
        made = graph_of(self.module, self.members)
        self.graph, self.outside = made.proto, made.outside
        self.state = {name: t.cpu().numpy() for name, t in self.module.state_dict().items()}
        names = [value.name for value in self.graph.graph.input]
        arrays = [t.numpy() for t in tensors_of(self.members)]
        feed = dict(zip(names, arrays, strict=True))
        self.ranges = Ranges(self.graph, feed, self.outside)

    def layers(self) -> dict[str, str]:
        """Return the graph's layers: the names of their weights, and those of the model's layers.

        A weight that the graph holds transposed has another name there than in the model.
        """
        held = {i.name: i for i in self.graph.graph.initializer}
        found = (layer_of(node, held) for node in self.graph.graph.node)
        weights = dict.fromkeys(layer.weight for layer in found if layer is not None)
        return {name: self._source(name, array_of(held[name], self.outside)) for name in weights}

    def _source(self, name: str, array: NDArray[Any]) -> str:
        turned = (n for n, a in self.state.items() if a.ndim == 2 and np.array_equal(a.T, array))
        found = name if name in self.state else next(turned, name)
        return found.removesuffix(".weight")


@dataclass(frozen=True)
class OnnxGraphs:
    """The graphs of a model by number format, each an `onnx.ModelProto` that is made once.

    Args:
        context: the model and the rows that fix its ranges.
    """

    context: ExportContext

    @property
    def fp32(self) -> Any:
        """The graph in fp32."""
        return self._single.graph

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
        made, kept = self._single, self.context.kept
        return dynamic(
            made.graph, made.state, self.context.numbers, kept=kept, outside=made.outside
        )

    @property
    def _single(self) -> Fp32:
        return self.context.once(Fp32)

    def _static(self, values: str) -> Any:
        made, numbers = self._single, self.context.numbers
        if numbers is None:
            return quantized(
                made.graph,
                made.ranges,
                weights=values,
                kept=self.context.kept,
                outside=made.outside,
            )
        ranges = numbers.ranges or input_bounds(made.module, made.members)
        numbers = replace(numbers, ranges=ranges)
        return trained(made.graph, made.state, numbers, values=values, outside=made.outside)
