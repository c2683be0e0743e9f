"""`with_preprocessing`: a run's preprocessing as the first operators of its ONNX graph.

The operators compute the inputs of training bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.data import Preprocessor
from safecompress.data.encoders import ArrayEncoder, ImageEncoder, NumericEncoder
from safecompress.data.tokens import TokenEncoder

_INT64, _DOUBLE = 7, 11
"""Numbers of the types in ONNX."""
_MADE = "preprocessed"
_RAW = "inputs"


def expressible(preprocessor: Preprocessor | None) -> bool:
    """Return whether ONNX operators on numbers can express a run's preprocessing.

    They can for arrays, images and columns of numbers, and cannot for categories, words and tokens.

    Args:
        preprocessor: fitted; None, where a run has none, gives False.
    """
    if preprocessor is None:
        return False
    if isinstance(preprocessor.block, TokenEncoder):
        return False
    return preprocessor.block is not None or all(
        isinstance(encoder, NumericEncoder) for encoder in preprocessor.columns
    )


def with_preprocessing(graph: Any, preprocessor: Preprocessor, dtype: np.dtype[Any]) -> Any:
    """Return a graph that takes raw rows as a new `onnx.ModelProto`.

    The arithmetic is in fp64, as in training, and the result is rounded to fp32; whole numbers that
    are left alone become int64. The input of a
    table is fp64 (n, columns) in the order of the preprocessor's columns, NaN where a number is
    missing.

    Args:
        graph: `onnx.ModelProto` with one input, (n, *preprocessor.input_shape); it is not changed.
        preprocessor: one for which `expressible` is True.
        dtype: of the raw rows.
    """
    import onnx
    from onnx import helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(graph)
    body = result.graph
    (before,) = body.input
    for node in body.node:
        node.input[:] = [_MADE if name == before.name else name for name in node.input]
    nodes, last = [], _RAW
    for number, (operator, operand, attributes) in enumerate(_steps(preprocessor)):
        inputs, output = [last], f"{_MADE}.{number}"
        if operand is not None:
            name = f"{_MADE}.by{number}"
            body.initializer.append(numpy_helper.from_array(operand, name))
            inputs.append(name)
        if operator == "FillNaN":
            nodes.append(helper.make_node("IsNaN", [last], [f"{output}.missing"]))
            nodes.append(helper.make_node("Where", [f"{output}.missing", name, last], [output]))
        else:
            nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        last = output
    to = before.type.tensor_type.elem_type
    nodes.append(helper.make_node("Cast", [last], [_MADE], to=to))
    batch = before.type.tensor_type.shape.dim[0].dim_param
    shape = _raw_shape(preprocessor)
    raw = helper.make_tensor_value_info(
        _RAW, helper.np_dtype_to_tensor_dtype(_raw_type(preprocessor, dtype)), [batch, *shape]
    )
    computing = list(body.node)
    del body.node[:], body.input[:]
    body.node.extend([*nodes, *computing])
    body.input.append(raw)
    return result


def raw_rows(preprocessor: Preprocessor, columns: Any, at: NDArray[np.int64]) -> NDArray[Any]:
    """Return rows of a source as input of the graph that `with_preprocessing` returns.

    Args:
        preprocessor: that of the graph.
        columns: all rows of the source: an array (n, ...), or the columns of a table.
        at: int64 (m,), indices of the rows to take.
    """
    if preprocessor.block is not None:
        return np.ascontiguousarray(columns[at])
    named = {column.name: column.values for column in columns}
    picked = [np.asarray(named[e.name][at], np.float64) for e in preprocessor.columns]
    return np.stack(picked, axis=1)


def _raw_shape(preprocessor: Preprocessor) -> tuple[int, ...]:
    block = preprocessor.block
    return (len(preprocessor.columns),) if block is None else block.shape


def _raw_type(preprocessor: Preprocessor, dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64) if preprocessor.block is None else dtype


def _steps(preprocessor: Preprocessor) -> list[tuple[str, NDArray[Any] | None, dict[str, Any]]]:
    """Return (operator, second input, attributes) of the preprocessing, in order."""
    steps: list[tuple[str, NDArray[Any] | None, dict[str, Any]]] = [("Cast", None, {"to": _DOUBLE})]
    block = preprocessor.block
    if isinstance(block, ImageEncoder):
        if block.channel_axis is None:
            steps.append(("Unsqueeze", np.array([1], np.int64), {}))
        elif block.channel_axis == 2:
            steps.append(("Transpose", None, {"perm": [0, 3, 1, 2]}))
        channels = (-1, 1, 1)
        steps.append(("Div", np.array(block.scale, np.float64), {}))
        steps.append(("Sub", np.array(block.mean).reshape(channels), {}))
        steps.append(("Div", np.array(block.std).reshape(channels), {}))
    elif isinstance(block, ArrayEncoder):
        if block.whole:
            steps = [("Cast", None, {"to": _INT64})]
        else:
            steps.append(("Sub", np.array(block.mean).reshape(block.shape), {}))
            steps.append(("Div", np.array(block.std).reshape(block.shape), {}))
        if block.flatten:
            steps.append(("Reshape", np.array([-1, len(block.mean)], np.int64), {}))
    else:
        encoders = [e for e in preprocessor.columns if isinstance(e, NumericEncoder)]
        steps.append(("FillNaN", np.array([e.fill for e in encoders]), {}))
        steps.append(("Sub", np.array([e.mean for e in encoders]), {}))
        steps.append(("Div", np.array([e.std for e in encoders]), {}))
    return steps
