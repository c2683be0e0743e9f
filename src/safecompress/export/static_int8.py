"""`quantized`: a graph in static int8, as `QuantizeLinear` and `DequantizeLinear` nodes.

Activations are uint8 by ranges fixed beforehand, weights int8 with a scale per output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from safecompress.export.format import INT8, NO_LAYERS
from safecompress.export.integer_graph import IntegerGraph
from safecompress.export.outside import NOTHING, Outside
from safecompress.export.packing import quantize
from safecompress.export.ranges import Ranges
from safecompress.export.rounding_plan import RoundingPlan, plan
from safecompress.export.tidy import tidy


def quantized(
    graph: Any,
    ranges: Ranges,
    *,
    weights: str = "int8",
    kept: Mapping[str, str] = NO_LAYERS,
    outside: Outside = NOTHING,
) -> Any:
    """Return the static int8 form of a graph as a new `onnx.ModelProto`.

    Zeros stay zeros, so masks survive. Everything from the layers that make the logits to the
    output stays fp32, because logits rounded to 256 levels tie, and ties make a model look safer
    than it is. Tables hold a scale per row. Layers without a kernel of integers, such as transposed
    convolutions, have integer weights and compute in fp32; recurrent layers stay fp32.

    Args:
        graph: `onnx.ModelProto` in fp32, from `graph_of`; it is not changed.
        ranges: of the graph's tensors, over members alone.
        weights: `int8`, or `int4` for int8 tensors whose values are from -7 to 7.
        kept: finer number formats of layers, by the names of their weights in the graph.
        outside: values of large initializers that are not in the graph.

    Raises:
        ConfigError: when onnxruntime is not installed.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(graph)
    planned = plan(result.graph, kept=kept)
    writer = IntegerGraph(result.graph, outside)
    bounds = ranges.of(_measured(result.graph, planned))
    for place, node in enumerate(result.graph.node):
        layer, given = planned.layers.get(place), None
        apart, places = "", 0
        for position, tensor in enumerate(node.input):
            if planned.rounds(place, position, tensor):
                by = bounds[planned.range_of(tensor)]
                node.input[position] = writer.rounded(tensor, by)
                given = by if position == 0 else given
        if layer is not None:
            array = writer.array(layer.weight)
            kind = INT8 if layer.weight in kept else weights
            # Any of these may be computed in integers: OpenVINO does so with the convolution that
            # makes the logits, which onnxruntime computes in fp32, even behind a pooling.
            rounded = quantize(np.moveaxis(array, layer.axis, 0), kind, multiplied=layer.multiplies)
            if layer.kind == "Gather":
                writer.look_up(node, rounded)
                continue
            if layer.bias is not None and layer.multiplies and given is not None:
                bias = writer.bias(layer.bias, given, rounded)
                if bias is None:
                    apart = layer.bias
                else:
                    node.input[2], rounded = bias.name, bias.weight
            node.input[layer.at] = writer.weight(layer.weight, rounded, axis=layer.axis)
            places = array.ndim - 2
        writer.put(node, bias=apart, places=places)
    writer.finish()
    tidy(result, outside)
    return result


def _measured(body: Any, planned: RoundingPlan) -> set[str]:
    """Return the tensors whose ranges the rounding needs."""
    return {
        planned.range_of(tensor)
        for place, node in enumerate(body.node)
        for position, tensor in enumerate(node.input)
        if planned.rounds(place, position, tensor)
    }
