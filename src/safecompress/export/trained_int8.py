"""`trained`: a graph in static int8 with the scales and ranges of quantization-aware training.

Nothing is rounded that training did not round, except biases. Sums of layers, pooling and
normalization stay fp32; where a runtime moves a rounding past them, the result is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ModelError
from safecompress.export.integer_graph import IntegerGraph
from safecompress.export.layers import layer_of
from safecompress.export.outside import NOTHING, Outside
from safecompress.export.packing import QuantizedWeight, quantize
from safecompress.export.tidy import tidy
from safecompress.transforms import Quantization as Numbers

Array = NDArray[Any]
_WEIGHT_AT = {"Conv": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}
_FOLDED = 1e-5
"""Relative rounding error of a weight that normalization has been folded into."""


def trained(
    graph: Any,
    weights: Mapping[str, Array],
    numbers: Numbers,
    *,
    values: str,
    outside: Outside = NOTHING,
) -> Any:
    """Return the int8 form of a graph with a candidate's own integers, as a new `onnx.ModelProto`.

    Where normalization was folded into a weight, its integers change at most their sign, and the
    scales are multiplied by the factor. Biases become int32 multiples of the input's step times the
    weight's scale, which is the step of the sum they are added to.

    Args:
        graph: `onnx.ModelProto` in fp32, from `graph_of`; it is not changed.
        weights: the module's state by name, quantized weights already rounded.
        numbers: scales of the weights, and ranges of layers' inputs.
        values: `int8`, or `int4`, which rounds weights that were trained with 8 bits again.
        outside: values of large initializers that are not in the graph.

    Raises:
        ModelError: when a quantized weight of the graph is not the module's weight times a factor
            per channel.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(graph)
    writer = IntegerGraph(result.graph, outside)
    for node in result.graph.node:
        at = _WEIGHT_AT.get(node.op_type)
        held = None if at is None else writer.held.get(node.input[at])
        if at is None or held is None:
            writer.nodes.append(node)
            continue
        array, apart = writer.array(held.name), ""
        found = as_trained(held.name, array, weights, numbers, values=values)
        if found is not None:
            rounded = found.rounded
            if node.op_type == "Gather" and not found.turned and layer_of(node, writer.held):
                writer.look_up(node, rounded)
                continue
            bounds = numbers.ranges.get(found.name.rpartition(".")[0])
            if node.op_type != "Gather" and bounds is not None:
                node.input[0] = writer.rounded(node.input[0], bounds)
                if len(node.input) > 2 and node.input[2] in writer.held:
                    bias = writer.bias(node.input[2], bounds, rounded)
                    if bias is None:
                        apart = node.input[2]
                    else:
                        node.input[2], rounded = bias.name, bias.weight
            node.input[at] = writer.weight(node.input[at], rounded, axis=int(found.turned))
        writer.put(node, bias=apart, places=array.ndim - 2)
    writer.finish()
    tidy(result, outside)
    return result


@dataclass(frozen=True)
class IntegerWeight:
    """A weight of a graph as the integers that it was trained with.

    Args:
        name: name of the module's weight.
        turned: whether the graph holds it transposed.
        rounded: its integers and scales, output channels first.
    """

    name: str
    turned: bool
    rounded: QuantizedWeight


def as_trained(
    held: str, array: Array, weights: Mapping[str, Array], numbers: Numbers, *, values: str
) -> IntegerWeight | None:
    """Return the integers that a weight of a graph was trained with; None where it had none.

    Args:
        held: the weight's name in the graph.
        array: its values in the graph, float32.
        weights: see `trained`.
        numbers: see `trained`.
        values: see `trained`.

    Raises:
        ModelError: when it is not the module's weight times a factor per channel.
    """
    name, turned = _source(held, array, weights, numbers)
    if name is None:
        return None
    rounded = _rounded(weights[name], name, numbers, values)
    rounded = _folded(name, weights[name], array.T if turned else array, rounded)
    return IntegerWeight(name, turned, rounded)


def _source(
    held: str, array: Array, weights: Mapping[str, Array], numbers: Numbers
) -> tuple[str | None, bool]:
    """Return the quantized weight that an initializer holds, and whether it is transposed."""
    if held in numbers.scales and weights[held].shape == array.shape:
        return held, False
    turned = (
        name
        for name in numbers.scales
        if array.ndim == 2 and np.array_equal(weights[name].T, array)
    )
    return next(turned, None), True


def _rounded(weight: Array, name: str, numbers: Numbers, values: str) -> QuantizedWeight:
    """Return the integers a weight was trained with, or its 4-bit rounding where requested."""
    if values == "int4" and numbers.bits != 4:
        return quantize(weight, "int4")
    scale = np.asarray(numbers.scales[name].cpu().numpy(), np.float32)
    return quantize(weight, f"int{numbers.bits}", scale=scale)


def _folded(name: str, weight: Array, array: Array, rounded: QuantizedWeight) -> QuantizedWeight:
    """Move the factor per channel by which the graph's weight differs into sign and scales."""
    if np.array_equal(weight, array):
        return rounded
    ours, theirs = (a.reshape(len(a), -1).astype(np.float64) for a in (weight, array))
    at = np.arange(len(ours)), np.abs(ours).argmax(axis=1)
    empty = ours[at] == 0
    factor = np.where(empty, 1.0, theirs[at] / np.where(empty, 1.0, ours[at]))
    error = np.abs(theirs - ours * factor[:, None]).max(axis=1)
    if (error > _FOLDED * np.abs(theirs[at])).any():
        raise ModelError(
            f"export: '{name}' is not in the graph as it was trained, so its whole numbers are not "
            "those that were judged; choose a format of fp32."
        )
    # A factor of 0 empties the channel: its integers become 0 and its scale stays positive.
    sign = np.sign(factor).astype(np.int8).reshape(-1, *[1] * (weight.ndim - 1))
    scale = np.where(factor == 0, rounded.scale, rounded.scale * np.abs(factor))
    return QuantizedWeight(rounded.values * sign, scale.astype(np.float32))
