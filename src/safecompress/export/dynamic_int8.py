"""`dynamic`: a graph in dynamic int8, which takes the range of activations anew at every call.

Linear layers become `DynamicQuantizeLinear → MatMulInteger`, which onnxruntime runs as one kernel;
embedding tables hold int8 rows. Convolutions stay fp32, because stock runtimes compute them more
slowly in dynamic int8. onnxruntime's `quantize_dynamic` converts linear layers in the same way, but
cannot use the scales that a weight was trained with, and rounds all rows of a table by one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ModelError
from safecompress.export.packing import QuantizedWeight, quantize
from safecompress.export.static_int8 import tidy
from safecompress.export.trained_int8 import as_trained
from safecompress.transforms import Quantization as Numbers

Array = NDArray[Any]


def dynamic(graph: Any, weights: Mapping[str, Array], numbers: Numbers | None) -> Any:
    """Return the dynamic int8 form of a graph as a new `onnx.ModelProto`.

    Weights are symmetric around zero with a scale per output channel, tables with a scale per row,
    so zeros stay zeros. Biases and everything between layers stay fp32. No rows are needed for
    calibration: a layer's input is rounded by the range of all rows of the call together.

    Args:
        graph: `onnx.ModelProto` in fp32, from `graph_of`; it is not changed.
        weights: the module's state by name, quantized weights already rounded.
        numbers: scales that the weights were trained with; None rounds them by their largest value.

    Raises:
        ModelError: when the graph has no linear layer, or holds a quantized weight that is not the
            module's weight times a factor per channel.
    """
    import onnx
    from onnx import numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(graph)
    body = result.graph
    floats = {i.name: i for i in body.initializer if i.data_type == onnx.TensorProto.FLOAT}
    writer = _Writer()
    layers = 0
    for node in body.node:
        at = {"Gemm": 1, "MatMul": 1, "Gather": 0}.get(node.op_type)
        weight = None if at is None else floats.get(node.input[at])
        if weight is None or len(weight.dims) != 2 or not _plain(node):
            writer.nodes.append(node)
            continue
        array = numpy_helper.to_array(weight)
        turned = node.op_type != "Gather" and not _option(node, "transB")
        integers = None
        if numbers is not None:
            integers = as_trained(weight.name, array, weights, numbers, values="int8")
        if integers is not None and integers.turned == turned:
            rounded = integers.rounded
        else:
            rounded = quantize(array.T if turned else array, "int8")
        if node.op_type == "Gather":
            writer.look_up(node, rounded)
        else:
            writer.multiply(node, rounded)
            layers += 1
    if not layers:
        raise ModelError(
            "export: the model has no linear layer, and dynamic int8 is for those; use onnx-int8 "
            "or onnx-sparse-int8, which round convolutions with ranges from members."
        )
    del body.node[:]
    body.node.extend(writer.nodes)
    for name, stored in writer.put.items():
        body.initializer.append(numpy_helper.from_array(stored, name))
    tidy(result)
    return result


def _option(node: Any, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def _plain(node: Any) -> bool:
    """Return whether a node is x @ W (+ b) without factors, or a look-up of whole rows."""
    factors = (a.f for a in node.attribute if a.name in {"alpha", "beta"})
    # Of the three operators only Gather has `axis` and only Gemm has `transA`; both default to 0.
    return not _option(node, "transA") and not _option(node, "axis") and set(factors) <= {1.0}


class _Writer:
    """The new `nodes`, in order, and new initializers (`put`) of a graph that is rewritten."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.put: dict[str, Array] = {}
        self._inputs: set[str] = set()

    def multiply(self, node: Any, rounded: QuantizedWeight) -> None:
        """Write x @ W (+ b) in int8, as the pattern that onnxruntime fuses into one kernel."""
        given, output = node.input[0], node.output[0]
        number, step, zero = (f"{given}.dynamic_{part}" for part in ("number", "step", "zero"))
        if given not in self._inputs:
            self._inputs.add(given)
            self._add("DynamicQuantizeLinear", [given], [number, step, zero])
        weight = f"{node.input[1]}_integers"
        self.put[weight] = np.ascontiguousarray(rounded.values.T)
        self.put[f"{weight}_scale"] = rounded.scale
        bias = [name for name in node.input[2:] if name]
        product = f"{output}.product" if bias else output
        self._add("Mul", [step, f"{weight}_scale"], [f"{output}.steps"])
        self._add("MatMulInteger", [number, weight, zero], [f"{output}.whole"])
        self._cast(f"{output}.whole", f"{output}.cast")
        self._add("Mul", [f"{output}.cast", f"{output}.steps"], [product])
        if bias:
            self._add("Add", [product, *bias], [output])

    def look_up(self, node: Any, rounded: QuantizedWeight) -> None:
        """Write a look-up as int8 rows times each row's scale."""
        (table, at), output = node.input, node.output[0]
        rows = f"{table}_rows"
        self.put[rows] = rounded.values
        self.put[f"{rows}_scale"] = rounded.scale[:, None]
        self._add("Gather", [rows, at], [f"{output}.whole"])
        self._add("Gather", [f"{rows}_scale", at], [f"{output}.steps"])
        self._cast(f"{output}.whole", f"{output}.cast")
        self._add("Mul", [f"{output}.cast", f"{output}.steps"], [output])

    def _add(self, operator: str, inputs: list[str], outputs: list[str]) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, outputs))

    def _cast(self, given: str, output: str) -> None:
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Cast", [given], [output], to=TensorProto.FLOAT))
