"""`dynamic`: a graph in dynamic int8, which takes the range of activations anew at every call.

Linear layers become `DynamicQuantizeLinear → MatMulInteger`, which onnxruntime runs as one kernel;
embedding tables hold int8 rows. Convolutions stay fp32, because stock runtimes compute them more
slowly in dynamic int8. onnxruntime's `quantize_dynamic` converts linear layers in the same way, but
cannot use the scales that a weight was trained with, and rounds all rows of a table by one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from safecompress.errors import ModelError
from safecompress.export.format import FP32, INT8_WEIGHTS, NO_LAYERS
from safecompress.export.integer_graph import IntegerGraph
from safecompress.export.layers import layer_of
from safecompress.export.outside import NOTHING, Outside
from safecompress.export.packing import QuantizedWeight, quantize
from safecompress.export.tidy import tidy
from safecompress.export.trained_int8 import as_trained
from safecompress.transforms import Quantization as Numbers

Array = NDArray[Any]
_LINEAR = frozenset({"Gemm", "MatMul"})
_ROUNDED = _LINEAR | {"Gather"}


def dynamic(
    graph: Any,
    weights: Mapping[str, Array],
    numbers: Numbers | None,
    *,
    kept: Mapping[str, str] = NO_LAYERS,
    outside: Outside = NOTHING,
) -> Any:
    """Return the dynamic int8 form of a graph as a new `onnx.ModelProto`.

    Weights are symmetric around zero with a scale per output channel, tables with a scale per row,
    so zeros stay zeros. Biases and everything between layers stay fp32. No rows are needed for
    calibration: a layer's input is rounded by the range of all rows of the call together.

    Args:
        graph: `onnx.ModelProto` in fp32, from `graph_of`; it is not changed.
        weights: the module's state by name, quantized weights already rounded.
        numbers: scales that the weights were trained with; None rounds them by their largest value.
        kept: finer number formats of layers, by the names of their weights in the graph.
        outside: values of large initializers that are not in the graph.

    Raises:
        ModelError: when the graph has no linear layer, or holds a quantized weight that is not the
            module's weight times a factor per channel.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(graph)
    writer = IntegerGraph(result.graph, outside)
    ready: set[str] = set()
    linear = False
    for node in result.graph.node:
        layer = layer_of(node, writer.held)
        linear |= layer is not None and layer.kind in _LINEAR
        if layer is None or layer.kind not in _ROUNDED or kept.get(layer.weight) == FP32:
            writer.nodes.append(node)
            continue
        array = writer.array(layer.weight)
        integers = None
        if numbers is not None:
            integers = as_trained(layer.weight, array, weights, numbers, values="int8")
        if integers is not None and integers.turned == bool(layer.axis):
            rounded = integers.rounded
        else:
            whole = layer.kind in _LINEAR and layer.weight not in kept
            rounded = quantize(array.T if layer.axis else array, "int8", multiplied=whole)
        if layer.kind == "Gather":
            writer.look_up(node, rounded)
        elif kept.get(layer.weight) == INT8_WEIGHTS:
            node.input[layer.at] = writer.weight(layer.weight, rounded, axis=layer.axis)
            writer.nodes.append(node)
        else:
            _multiply(writer, node, rounded, ready)
    if not linear:
        raise ModelError(
            "export: the model has no linear layer, and dynamic int8 is for those; use onnx-int8 "
            "or onnx-sparse-int8, which round convolutions with ranges from members."
        )
    writer.finish()
    tidy(result, outside)
    return result


def _multiply(writer: IntegerGraph, node: Any, rounded: QuantizedWeight, ready: set[str]) -> None:
    """Write x @ W (+ b) in int8, as the pattern that onnxruntime fuses into one kernel.

    Args:
        writer: takes the nodes.
        node: the layer.
        rounded: its weight.
        ready: tensors that are rounded already; the layer's input is added.
    """
    from onnx import TensorProto

    given, output = node.input[0], node.output[0]
    number, step, zero = (f"{given}.dynamic_{part}" for part in ("number", "step", "zero"))
    if given not in ready:
        ready.add(given)
        writer.add("DynamicQuantizeLinear", [given], number, step, zero)
    weight, scale = writer.integers(node.input[1], rounded)
    bias = [name for name in node.input[2:] if name]
    product = f"{output}.product" if bias else output
    writer.add("Mul", [step, scale], f"{output}.steps")
    writer.add("MatMulInteger", [number, weight, zero], f"{output}.whole")
    writer.add("Cast", [f"{output}.whole"], f"{output}.cast", to=TensorProto.FLOAT)
    writer.add("Mul", [f"{output}.cast", f"{output}.steps"], product)
    if bias:
        writer.add("Add", [product, *bias], output)
