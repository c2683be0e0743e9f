"""`tidy`, `nodes_of`: a graph without leftovers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from safecompress.export.outside import NOTHING, Outside, array_of


def tidy(model: Any, outside: Outside = NOTHING) -> None:
    """Remove unused and duplicate initializers and the names of nodes, in place.

    Tensors of int8 are not merged. They are weights and their zero points, which onnxruntime
    rewrites under `session.x64quantprecision`, and it refuses to rewrite one for two layers.

    Args:
        model: an `onnx.ModelProto`.
        outside: values of its large initializers that are not in it.
    """
    from onnx import TensorProto

    body = model.graph
    del body.value_info[:], model.metadata_props[:]
    model.producer_name, model.producer_version = "safecompress", ""
    nodes = list(nodes_of(body))
    read = {name for node in nodes for name in node.input} | {value.name for value in body.output}
    kept: list[Any] = []
    first: dict[tuple[Any, ...], str] = {}
    renamed: dict[str, str] = {}
    for initializer in body.initializer:
        if initializer.name not in read:
            continue
        content = (initializer.data_type, tuple(initializer.dims), _digest(initializer, outside))
        if content in first and initializer.data_type != TensorProto.INT8:
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


def _digest(initializer: Any, outside: Outside) -> bytes:
    array = np.ascontiguousarray(array_of(initializer, outside))
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest()
