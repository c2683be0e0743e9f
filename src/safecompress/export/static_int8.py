"""`quantized`: a graph in static int8, as `QuantizeLinear` and `DequantizeLinear` nodes.

Activations are uint8 by ranges fixed beforehand, weights int8 with a scale per output channel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ConfigError, ModelError
from safecompress.export.graph import INSTALL, LOGITS, quiet
from safecompress.export.packing import QuantizedWeight, quantize, steps_with_bias

Feed = Mapping[str, NDArray[Any]]
_BATCH = 64
_KEPT = "QuantizeLinear", "DequantizeLinear"


def quantized(graph: Any, rows: Feed, *, weights: str = "int8") -> Any:
    """Return the static int8 form of a graph as a new `onnx.ModelProto`.

    Zeros stay zeros, so masks survive. The logits stay fp32, because logits rounded to 256 levels
    tie, and ties make a model look safer than it is.

    Args:
        graph: `onnx.ModelProto` in fp32, from `graph_of`; it is not changed.
        rows: the graph's inputs by name, for members alone; their activations fix the ranges.
        weights: `int8`, or `int4` for int8 tensors whose values are from -7 to 7.

    Raises:
        ConfigError: when onnxruntime is not installed.
        ModelError: when onnxruntime cannot quantize the graph.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
    source = onnx.ModelProto()
    source.CopyFrom(graph)
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                source,
                str(path),
                Batches(rows),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
            )
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"export: onnxruntime cannot quantize the graph: {reason}") from error
        result = onnx.load(str(path))
    _keep_logits(result)
    _refit(result, graph, weights=weights)
    tidy(result)
    return result


class Batches:
    """Rows in batches of 64, in the interface of onnxruntime's calibration.

    Args:
        rows: arrays (n, ...) by the names of the graph's inputs.
    """

    def __init__(self, rows: Feed) -> None:
        n = len(next(iter(rows.values())))
        self._left = (
            {name: array[start : start + _BATCH] for name, array in rows.items()}
            for start in range(0, n, _BATCH)
        )

    def get_next(self) -> Feed | None:
        return next(self._left, None)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Feed:
        return next(self._left)


def _keep_logits(model: Any) -> None:
    """Remove the quantization of the graph's output, in place."""
    nodes = model.graph.node
    producers = {output: node for node in nodes for output in node.output}
    last = producers.get(LOGITS)
    if last is None or last.op_type != "DequantizeLinear":
        return
    rounding = producers.get(last.input[0])
    if rounding is None or rounding.op_type != "QuantizeLinear":
        return
    exact = rounding.input[0]
    nodes.remove(last)
    nodes.remove(rounding)
    for node in nodes:
        node.output[:] = [LOGITS if name == exact else name for name in node.output]
        node.input[:] = [LOGITS if name == exact else name for name in node.input]


def _refit(model: Any, source: Any, *, weights: str) -> None:
    """Round weights to 4 bits where requested, and biases of empty channels finely, in place.

    onnxruntime gives a channel without weights a scale of 1, so that its bias is rounded to
    multiples of the input's step; see `steps_with_bias`.
    """
    from onnx import numpy_helper

    exact = {i.name: i for i in source.graph.initializer}
    initializers = {i.name: i for i in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}

    def get(name: str) -> NDArray[Any]:
        return np.asarray(numpy_helper.to_array(initializers[name]))

    def put(name: str, array: NDArray[Any]) -> None:
        initializers[name].CopyFrom(numpy_helper.from_array(array, name))

    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"} or len(node.input) < 2:
            continue
        inputs = [producers.get(name) for name in node.input]
        weight = inputs[1]
        if (
            weight is None
            or weight.op_type != "DequantizeLinear"
            or weight.input[0] not in initializers
        ):
            continue
        number, by = weight.input[:2]
        axis = next((a.i for a in weight.attribute if a.name == "axis"), 0)
        if weights == "int4":
            values = numpy_helper.to_array(exact[number.removesuffix("_quantized")])
            rounded = quantize(np.moveaxis(values, axis, 0), "int4")
            put(number, np.ascontiguousarray(np.moveaxis(rounded.values, 0, axis)))
            put(by, rounded.scale)
        else:
            rounded = QuantizedWeight(np.moveaxis(get(number), axis, 0), get(by))
        bias = inputs[2] if len(inputs) > 2 else None
        if bias is None or inputs[0] is None or bias.op_type != "DequantizeLinear":
            continue
        numbers = numpy_helper.to_array(exact[bias.input[0].removesuffix("_quantized")])
        numbers = numbers.astype(np.float64)
        step = np.float32(get(inputs[0].input[1]).item())
        fitted = steps_with_bias(rounded, numbers, step)
        if weights == "int8" and np.array_equal(fitted, rounded.scale):
            continue
        scale = (step * fitted).astype(np.float32)
        limits = np.iinfo(np.int32)
        codes = np.clip(np.rint(numbers / scale), limits.min, limits.max)
        put(by, fitted)
        put(bias.input[0], codes.astype(np.int32))
        put(bias.input[1], scale)


def tidy(model: Any) -> None:
    """Remove unused and duplicate initializers and the names of nodes, in place.

    Args:
        model: an `onnx.ModelProto`.
    """
    body = model.graph
    del body.value_info[:], model.metadata_props[:]
    model.producer_name, model.producer_version = "safecompress", ""
    nodes = list(nodes_of(body))
    read = {name for node in nodes for name in node.input}
    kept: list[Any] = []
    first: dict[tuple[Any, ...], str] = {}
    renamed: dict[str, str] = {}
    for initializer in body.initializer:
        if initializer.name not in read:
            continue
        content = (initializer.data_type, tuple(initializer.dims), _content(initializer))
        if content in first:
            renamed[initializer.name] = first[content]
        else:
            first[content] = initializer.name
            kept.append(initializer)
    for node in nodes:
        node.name = ""
        node.input[:] = [renamed.get(name, name) for name in node.input]
    del body.initializer[:]
    body.initializer.extend(kept)


def nodes_of(body: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of its subgraphs (loops and branches).

    Args:
        body: an `onnx.GraphProto`.
    """
    for node in body.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from nodes_of(inner)


def _content(initializer: Any) -> bytes:
    from onnx import numpy_helper

    return bytes(numpy_helper.to_array(initializer).tobytes())
