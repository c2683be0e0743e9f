"""`self_decoding`: a graph that stores weights without their zeros and decodes them by operators.

Stock onnxruntime computes these operators once, when it loads the file (constant folding); no
custom operator is needed. Without graph optimization the weights are decoded at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.export.outside import NOTHING, Outside, array_of
from safecompress.export.packing import pack_halves, step_stream

_NODE_BYTES = 400
"""Bytes in the file of the operators that decode one tensor, names included."""
_HALVES_BYTES = 350
"""Bytes of the additional operators that unpack values from half bytes."""
_PRODUCT_BYTES = 120
"""Bytes of the operator that multiplies two scales."""
_NUMBERS = frozenset("biuf")
"""Kinds of types, in numpy's letters, that the operators decode."""
_AXIS, _ONE = "decode.axis", "decode.one"
_LOW, _HALF, _MIDDLE = "decode.low", "decode.half", "decode.middle"


def self_decoding(graph: Any, *, values: str, outside: Outside = NOTHING) -> Any:
    """Return a graph with every tensor packed that gets smaller by it, as a new `onnx.ModelProto`.

    That holds for tensors of every type, except for zero points, which take a byte a channel. Where
    nothing gets smaller, the given graph is returned, which is the dense file.

    Args:
        graph: `onnx.ModelProto` with fp32 or int8 weights; it is not changed.
        values: number format of the stored values: `fp32` or `fp16` for a graph in fp32, `int8` or
            `int4` for one in int8. A weight that `fp16` or `int4` cannot hold, or that gets no
            smaller by `int4`, is stored in the wider format. Tensors of another type than that of
            the graph's weights keep their type, without their zeros.
        outside: values of large initializers that are not in the graph; those that get no smaller
            stay outside.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    packed = onnx.ModelProto()
    packed.CopyFrom(graph)
    body = packed.graph
    whole = values in {"int8", "int4"}
    kinds = {TensorProto.INT8: values} if whole else {TensorProto.FLOAT: values}
    nodes = _derived_scales(body) if whole else []
    # Streams of one kind are adjacent, because general compressors pack similar bytes better.
    rest: list[Any] = []
    gaps: list[Any] = []
    numbers: list[Any] = []
    for initializer in body.initializer:
        array = array_of(initializer, outside)
        streams = None
        # A zero point is all zeros; of two that are decoded alike, onnxruntime would make one.
        point = initializer.data_type == TensorProto.INT8 and array.ndim < 2
        if array.dtype.kind in _NUMBERS and not point:
            streams = _streams(array, kinds.get(initializer.data_type, ""))
        if streams is None:
            rest.append(initializer)
            continue
        name = initializer.name
        gaps.append(numpy_helper.from_array(streams[0], f"{name}.gaps"))
        numbers.append(numpy_helper.from_array(streams[1], f"{name}.values"))
        for what, sizes in (("size", [array.size]), ("shape", array.shape)):
            rest.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{name}.{what}"))
        nodes += _decoding(name, f"decode.{len(gaps)}.", array.dtype, streams[1].dtype)
    if not gaps:
        return graph
    constants: dict[str, Any] = {_AXIS: np.int64(0), _ONE: np.int64(1)}
    if any(node.op_type == "BitwiseAnd" for node in nodes):
        constants |= {_LOW: np.int32(15), _HALF: np.int32(16), _MIDDLE: np.int32(8)}
    rest += [numpy_helper.from_array(np.array(v), name) for name, v in constants.items()]
    computing = list(body.node)
    del body.node[:], body.initializer[:]
    body.node.extend([*nodes, *computing])
    body.initializer.extend([*rest, *gaps, *numbers])
    return packed


def _derived_scales(body: Any) -> list[Any]:
    """Remove the scales of biases that are products of two other scales, in place.

    Returns the operators that compute them. A scale that is not exactly the product, or is smaller
    than the operator, stays in the file.
    """
    from onnx import helper, numpy_helper

    initializers = {i.name: i for i in body.initializer}
    producers = {output: node for node in body.node for output in node.output}
    nodes, derived = [], set()
    for node in body.node:
        if node.op_type not in {"Conv", "Gemm"} or len(node.input) < 3:
            continue
        inputs = [producers.get(name) for name in node.input]
        if any(b is None or b.op_type != "DequantizeLinear" for b in inputs):
            continue
        step, weight, bias = (b.input[1] for b in inputs if b is not None)
        if bias in derived or not {step, weight, bias} <= set(initializers):
            continue
        product, scale = (
            numpy_helper.to_array(initializers[step]) * numpy_helper.to_array(initializers[weight]),
            numpy_helper.to_array(initializers[bias]),
        )
        readers = [n for n in body.node if bias in n.input]
        small = scale.nbytes <= _PRODUCT_BYTES
        if small or len(readers) > 1 or not np.array_equal(product, scale):
            continue
        derived.add(bias)
        nodes.append(helper.make_node("Mul", [step, weight], [bias]))
    kept = [i for i in body.initializer if i.name not in derived]
    del body.initializer[:]
    body.initializer.extend(kept)
    return nodes


def _streams(array: NDArray[Any], values: str) -> tuple[NDArray[np.uint8], NDArray[Any]] | None:
    """Return the stored steps and values of a tensor; None where they are no smaller than it."""
    if array.nbytes <= _NODE_BYTES:
        return None
    steps, kept = step_stream(array)
    if not len(steps):
        # OpenVINO reads a list without entries as a number; one zero says the same.
        steps, kept = np.ones(1, np.uint8), np.zeros(1, array.dtype)
    cost = _NODE_BYTES
    if values == "int4" and len(kept) > 2 * _HALVES_BYTES and np.abs(kept).max() <= 7:
        steps, kept = _even(steps, kept)
        half = len(kept) // 2
        # Low halves hold the first half of the values, so that a Concat decodes them in order.
        kept = pack_halves(np.stack([kept[:half], kept[half:]], axis=1))
        cost += _HALVES_BYTES
    elif values == "fp16":
        with np.errstate(over="ignore"):
            short = kept.astype(np.float16)
        # A weight with a value that fp16 rounds to zero or to infinity stays fp32.
        if np.isfinite(short).all() and ((short != 0) | (kept == 0)).all():
            kept = short
    if steps.nbytes + kept.nbytes + cost >= array.nbytes:
        return None
    return steps, np.ascontiguousarray(kept)


def _even(steps: NDArray[np.uint8], kept: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return an even number of steps; an odd one is made even by a zero in the longest gap."""
    if len(steps) % 2 == 0:
        return steps, kept
    at = int(np.argmax(steps))
    split = np.insert(steps, at, 1)
    split[at + 1] -= 1
    return split, np.insert(kept, at, 0)


def _decoding(name: str, mark: str, dtype: np.dtype[Any], stored: np.dtype[Any]) -> list[Any]:
    """Return Cast → CumSum → Sub 1 → ScatterElements(ConstantOfShape 0) → Reshape.

    Args:
        name: name of the weight.
        mark: prefix of the names of intermediate results.
        dtype: type of the weight.
        stored: type of its values in the file; uint8 means two values in a byte.
    """
    from onnx import TensorProto, helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(dtype)
    zero = numpy_helper.from_array(np.zeros(1, dtype))
    steps, ends, at, zeros, low, high, both, wide, whole, updates, flat = (
        f"{mark}{letter}" for letter in "abcdefghijk"
    )
    values, make = f"{name}.values", helper.make_node
    nodes = [
        make("Cast", [f"{name}.gaps"], [steps], to=TensorProto.INT64),
        make("CumSum", [steps, _AXIS], [ends]),
        make("Sub", [ends, _ONE], [at]),
        make("ConstantOfShape", [f"{name}.size"], [zeros], value=zero),
    ]
    if stored == np.uint8:
        # OpenVINO's shift of uint8 takes bits of the byte beside it, so bytes are divided as int32.
        nodes += [
            make("Cast", [values], [wide], to=TensorProto.INT32),
            make("BitwiseAnd", [wide, _LOW], [low]),
            make("Div", [wide, _HALF], [high]),
            make("Concat", [low, high], [both], axis=0),
            make("Sub", [both, _MIDDLE], [whole]),
            make("Cast", [whole], [updates], to=kind),
        ]
    elif stored != dtype:
        nodes.append(make("Cast", [values], [updates], to=kind))
    else:
        updates = values
    return [
        *nodes,
        make("ScatterElements", [zeros, at, updates], [flat], axis=0),
        make("Reshape", [flat, f"{name}.shape"], [name]),
    ]
