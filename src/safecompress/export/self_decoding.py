"""The self-decoding graph: weights as steps and values, put together by ordinary operators.

Stock onnxruntime folds these operators away when it loads the file; no custom operator is needed.
Without graph optimisation the weights are decoded at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.export.packing import pack_halves, step_stream

_NODE_BYTES = 700
"""What the operators that decode one tensor take in the file, names included."""
_SHARED = "_decode"


def self_decoding(graph: Any, *, values: str) -> Any:
    """Return a graph with every weight packed that is smaller so; a new `onnx.ModelProto`.

    Where nothing gets smaller the graph is returned as it is: the dense fallback.

    Args:
        graph: with fp32 weights, or with int8 weights of a QDQ graph; left as it is.
        values: how values are stored: `fp32` or `fp16` of fp32 weights, `int8` or `int4` of int8.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    packed = onnx.ModelProto()
    packed.CopyFrom(graph)
    body = packed.graph
    wanted = TensorProto.INT8 if values in {"int8", "int4"} else TensorProto.FLOAT
    nodes: list[Any] = []
    gaps: list[Any] = []
    numbers: list[Any] = []
    rest: list[Any] = []
    for initialiser in body.initializer:
        array = numpy_helper.to_array(initialiser)
        parts = None
        if initialiser.data_type == wanted and array.ndim >= 2:
            parts = _parts(initialiser.name, array, values)
        if parts is None:
            rest.append(initialiser)
            continue
        # Streams of one kind lie together, which is what general compression likes.
        gaps.append(parts[0])
        numbers.append(parts[1])
        rest += parts[2]
        nodes += _decoding(initialiser.name, array, values, kept=parts[3])
    if not nodes:
        return graph
    rest += [
        numpy_helper.from_array(np.array(0, np.int64), f"{_SHARED}.axis"),
        numpy_helper.from_array(np.array(1, np.int64), f"{_SHARED}.one"),
    ]
    if values == "int4":
        rest += [
            numpy_helper.from_array(np.array(15, np.uint8), f"{_SHARED}.low"),
            numpy_helper.from_array(np.array(4, np.uint8), f"{_SHARED}.shift"),
            numpy_helper.from_array(np.array(8, np.int32), f"{_SHARED}.middle"),
            numpy_helper.from_array(np.array([1], np.int64), f"{_SHARED}.last"),
            numpy_helper.from_array(np.array([-1], np.int64), f"{_SHARED}.row"),
            numpy_helper.from_array(np.array([0], np.int64), f"{_SHARED}.begin"),
        ]
    computing = list(body.node)
    del body.node[:], body.initializer[:]
    body.node.extend([*nodes, *computing])
    body.initializer.extend([*rest, *gaps, *numbers])
    return packed


def _parts(name: str, array: NDArray[Any], values: str) -> tuple[Any, Any, list[Any], int] | None:
    """Return steps, values and what else decodes them; None where that is no smaller."""
    from onnx import numpy_helper

    steps, kept = step_stream(array)
    stored: NDArray[Any] = kept
    if values == "int4":
        if np.abs(kept).max(initial=0) > 7:
            return None
        stored = pack_halves(kept)
    elif values == "fp16":
        with np.errstate(over="ignore"):
            stored = kept.astype(np.float16)
        # A value that fp16 would make zero or infinite stays fp32, with its whole tensor.
        if not np.isfinite(stored).all() or ((stored == 0) & (kept != 0)).any():
            stored = kept
    if steps.nbytes + stored.nbytes + _NODE_BYTES >= array.nbytes:
        return None
    sizes = [
        numpy_helper.from_array(np.array([array.size], np.int64), f"{name}.size"),
        numpy_helper.from_array(np.array(array.shape, np.int64), f"{name}.shape"),
    ]
    if values == "int4":
        sizes.append(numpy_helper.from_array(np.array([len(kept)], np.int64), f"{name}.count"))
    return (
        numpy_helper.from_array(steps, f"{name}.gaps"),
        numpy_helper.from_array(np.ascontiguousarray(stored), f"{name}.values"),
        sizes,
        len(kept),
    )


def _decoding(name: str, array: NDArray[Any], values: str, *, kept: int) -> list[Any]:
    """Return Cast → CumSum → Sub 1 → ScatterElements(ConstantOfShape 0) → Reshape."""
    from onnx import TensorProto, helper, numpy_helper

    del kept
    kind = TensorProto.INT8 if values in {"int8", "int4"} else TensorProto.FLOAT
    zero = numpy_helper.from_array(np.zeros(1, array.dtype))
    make = helper.make_node
    nodes = [
        make("Cast", [f"{name}.gaps"], [f"{name}.steps"], to=TensorProto.INT64),
        make("CumSum", [f"{name}.steps", f"{_SHARED}.axis"], [f"{name}.ends"]),
        make("Sub", [f"{name}.ends", f"{_SHARED}.one"], [f"{name}.at"]),
        make("ConstantOfShape", [f"{name}.size"], [f"{name}.zeros"], value=zero),
    ]
    updates = f"{name}.values"
    if values == "int4":
        low, high = f"{name}.low", f"{name}.high"
        nodes += [
            make("BitwiseAnd", [updates, f"{_SHARED}.low"], [low]),
            make("BitShift", [updates, f"{_SHARED}.shift"], [high], direction="RIGHT"),
            make("Unsqueeze", [low, f"{_SHARED}.last"], [f"{low}.1"]),
            make("Unsqueeze", [high, f"{_SHARED}.last"], [f"{high}.1"]),
            make("Concat", [f"{low}.1", f"{high}.1"], [f"{name}.pairs"], axis=1),
            make("Reshape", [f"{name}.pairs", f"{_SHARED}.row"], [f"{name}.row"]),
            make(
                "Slice",
                [f"{name}.row", f"{_SHARED}.begin", f"{name}.count"],
                [f"{name}.shifted"],
            ),
            make("Cast", [f"{name}.shifted"], [f"{name}.wide"], to=TensorProto.INT32),
            make("Sub", [f"{name}.wide", f"{_SHARED}.middle"], [f"{name}.whole"]),
            make("Cast", [f"{name}.whole"], [f"{name}.updates"], to=kind),
        ]
        updates = f"{name}.updates"
    elif values == "fp16":
        nodes.append(make("Cast", [updates], [f"{name}.updates"], to=kind))
        updates = f"{name}.updates"
    nodes += [
        make("ScatterElements", [f"{name}.zeros", f"{name}.at", updates], [f"{name}.flat"], axis=0),
        make("Reshape", [f"{name}.flat", f"{name}.shape"], [name]),
    ]
    return nodes
