"""Faults planted in the graph of an int8 file, each as a writer of files could make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

Fault = Callable[[Any], bool]
"""Changes a graph in place, and says whether there was something to change."""


def _held(graph: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in graph.initializer}


def _put(tensor: Any, array: Any) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _weights(graph: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each node that makes a weight of integers, the integers, and their scales."""
    held = _held(graph)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in held:
            values, scale = held[node.input[0]], held[node.input[1]]
            if values.data_type == TensorProto.INT8:
                yield node, values, scale


def zero_point(graph: Any) -> bool:
    """Read what lies between layers as if its zero were at 128, as in int8."""
    held, changed = _held(graph), False
    for node in list(graph.node):
        if node.op_type != "DequantizeLinear" or node.input[0] in held:
            continue
        point = int(numpy_helper.to_array(held[node.input[2]]))
        name = f"{node.output[0]}.wrong"
        wrong = np.array((point + 128) % 256, np.uint8)
        graph.initializer.append(numpy_helper.from_array(wrong, name))
        node.input[2], changed = name, True
        break
    return changed


def bias(graph: Any) -> bool:
    """Leave out the first bias."""
    held = _held(graph)
    for node in graph.node:
        if node.op_type not in {"Gemm", "Conv", "ConvTranspose"} or len(node.input) < 3:
            continue
        del node.input[2]
        return True
    for node in graph.node:
        if node.op_type == "Add" and node.input[1] in held:
            _put(held[node.input[1]], 0 * numpy_helper.to_array(held[node.input[1]]))
            return True
    return False


def axis(graph: Any) -> bool:
    """Take the scales of a square weight along its other axis."""
    for node, values, _ in _weights(graph):
        (along,) = [a for a in node.attribute if a.name == "axis"]
        if len(set(values.dims[:2])) == 1:
            along.i = 1 - along.i
            return True
    return False


def turned(graph: Any) -> bool:
    """Store a square weight the other way round."""
    for _, values, _ in _weights(graph):
        if len(set(values.dims[:2])) == 1:
            _put(values, np.swapaxes(numpy_helper.to_array(values), 0, 1))
            return True
    return False


def scale(graph: Any) -> bool:
    """Make the scales of a weight a tenth larger."""
    for _, _, scale in _weights(graph):
        _put(scale, numpy_helper.to_array(scale) * np.float32(1.1))
        return True
    return False


def channel(graph: Any) -> bool:
    """Give every channel the scale of the next."""
    for _, _, scale in _weights(graph):
        given = numpy_helper.to_array(scale)
        if len(given) > 1:
            _put(scale, np.roll(given, 1))
            return True
    return False


FAULTS: dict[str, Fault] = {
    "zero point": zero_point,
    "bias": bias,
    "axis": axis,
    "turned": turned,
    "scale": scale,
    "channel": channel,
}
