"""`ranges_of`: the smallest and largest value of tensors inside a graph over some rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.errors import ConfigError
from safecompress.export.graph import INSTALL

Feed = Mapping[str, NDArray[Any]]
BATCH = 64
"""Rows of one call; activations of large images still fit."""


def ranges_of(graph: Any, tensors: Collection[str], rows: Feed) -> dict[str, torch.Tensor]:
    """Return float32 (2,), the smallest and the largest value, for each of some tensors.

    The graph computes without optimization, because fused operators leave tensors out.

    Args:
        graph: `onnx.ModelProto` in fp32; it is not changed.
        tensors: names of its inputs or of results of its operators.
        rows: its inputs by name, (n, ...) each.

    Raises:
        ConfigError: when onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
    names = sorted(tensors)
    if not names:
        return {}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        _watched(graph, names), options, providers=["CPUExecutionProvider"]
    )
    n = len(next(iter(rows.values())))
    found = []
    for start in range(0, n, BATCH):
        feed = {name: array[start : start + BATCH] for name, array in rows.items()}
        found.append(np.array(session.run(None, feed)).reshape(len(names), 2))
    every = np.stack(found)
    pairs = np.stack([every[:, :, 0].min(axis=0), every[:, :, 1].max(axis=0)], axis=1)
    return dict(zip(names, torch.from_numpy(pairs.astype(np.float32)), strict=True))


def _watched(graph: Any, names: list[str]) -> bytes:
    """Return a graph whose outputs are the extremes of tensors, two scalars each."""
    import onnx
    from onnx import TensorProto, helper

    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    body = watched.graph
    del body.output[:]
    for number, name in enumerate(names):
        for operator in ("ReduceMin", "ReduceMax"):
            output = f"watched.{number}.{operator}"
            body.node.append(helper.make_node(operator, [name], [output], keepdims=0))
            body.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    return bytes(watched.SerializeToString())
