"""Large weights beside a graph: `taken_out`, `array_of`, `inlined`, `without_values`.

A message of protobuf holds at most 2 GB. The weights of a larger model stay arrays outside of its
graph, and the graph has only their names, types and shapes, until they are packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ModelError

Outside: TypeAlias = Mapping[str, NDArray[Any]]
"""The values of large initializers, by name."""
NOTHING: Outside = {}
MOST_INSIDE = 1 << 30
"""Bytes of initializers from which on the large ones stay outside: several copies of a graph in
memory would cost more than the model."""
LARGE = 1 << 20
"""Bytes of a large initializer."""
_LIMIT = (1 << 31) - (1 << 20)
"""Bytes that a message may have, less some for the graph itself."""


def taken_out(model: Any) -> dict[str, NDArray[Any]]:
    """Remove the values of large initializers from a graph that is too large, in place.

    Args:
        model: an `onnx_ir.Model`.

    Returns:
        The values by name; they share memory with the weights that the graph was made from.
    """
    import onnx_ir

    held = {n: v for n, v in model.graph.initializers.items() if v.const_value is not None}
    if sum(value.const_value.nbytes for value in held.values()) <= MOST_INSIDE:
        return {}
    outside = {}
    for name, value in held.items():
        tensor = value.const_value
        if tensor.nbytes < LARGE:
            continue
        outside[name] = np.asarray(tensor.numpy())
        value.const_value = onnx_ir.ExternalTensor(
            "outside", 0, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=name, base_dir=""
        )
    return outside


def array_of(initializer: Any, outside: Outside) -> NDArray[Any]:
    """Return the values of an initializer, wherever they are.

    Args:
        initializer: an `onnx.TensorProto`.
        outside: values that are not in the graph.
    """
    from onnx import numpy_helper

    if initializer.external_data:
        return outside[initializer.name]
    return np.asarray(numpy_helper.to_array(initializer))


def inlined(graph: Any, outside: Outside) -> Any:
    """Return a graph with all its values inside; the given one where they are inside already.

    Args:
        graph: an `onnx.ModelProto`; it is not changed.
        outside: values that are not in it.

    Raises:
        ModelError: when the graph would be too large for a file.
    """
    import onnx
    from onnx import numpy_helper

    body = graph.graph
    missing = [initializer for initializer in body.initializer if initializer.external_data]
    size = sum(outside[i.name].nbytes for i in missing) + graph.ByteSize()
    if size > _LIMIT:
        raise ModelError(
            f"export: the file would take {size / 1e9:.1f} GB, and an ONNX file holds at most 2; "
            "take a sparse format (onnx-sparse, onnx-sparse-int8), a lower density, or a "
            "safetensors format."
        )
    if not missing:
        return graph
    whole = onnx.ModelProto()
    whole.CopyFrom(graph)
    for initializer in whole.graph.initializer:
        if initializer.external_data:
            initializer.ClearField("external_data")
            initializer.ClearField("data_location")
            initializer.raw_data = numpy_helper.from_array(outside[initializer.name]).raw_data
    return whole


def without_values(graph: Any) -> Any:
    """Return a graph that takes what is outside as further inputs, as a new `onnx.ModelProto`.

    Args:
        graph: an `onnx.ModelProto`; it is not changed.
    """
    import onnx
    from onnx import helper

    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    body = bare.graph
    inside = [i for i in body.initializer if not i.external_data]
    for initializer in body.initializer:
        if initializer.external_data:
            kind = initializer.data_type
            body.input.append(
                helper.make_tensor_value_info(initializer.name, kind, list(initializer.dims))
            )
    del body.initializer[:]
    body.initializer.extend(inside)
    return bare
