"""`Ranges`: the smallest and largest value of tensors inside a graph over some rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.errors import ConfigError
from safecompress.export.graph import INSTALL
from safecompress.export.outside import NOTHING, Outside

Feed = Mapping[str, NDArray[Any]]
BATCH = 64
"""Rows of one call; activations of large images still fit."""


class Ranges:
    """The smallest and largest value of tensors inside a graph, over some rows.

    A tensor is measured once, however often it is asked for. The graph computes without
    optimization, because fused operators leave tensors out.

    Args:
        graph: `onnx.ModelProto` in fp32; it is not changed.
        rows: its inputs by name, (n, ...) each.
        outside: values of its large initializers that are not in it.
    """

    def __init__(self, graph: Any, rows: Feed, outside: Outside = NOTHING) -> None:
        self._graph, self._rows, self._outside = graph, rows, outside
        self._known: dict[str, torch.Tensor] = {}

    def of(self, tensors: Collection[str]) -> Mapping[str, torch.Tensor]:
        """Return float32 (2,), the smallest and the largest value, for at least some tensors.

        Args:
            tensors: names of inputs of the graph or of results of its operators.

        Raises:
            ConfigError: when onnxruntime is not installed.
        """
        missing = sorted(set(tensors) - self._known.keys())
        if missing:
            self._known |= self._measured(missing)
        return self._known

    def _measured(self, names: list[str]) -> dict[str, torch.Tensor]:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f"export: {error.name} is not installed; {INSTALL}.") from error
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        if self._outside:
            # Kernels would copy weights into the order that suits them best.
            options.add_session_config_entry("session.disable_prepacking", "1")
            # onnxruntime reads them where they are, and wants them in the order of their rows.
            arrays = map(np.ascontiguousarray, self._outside.values())
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
            options.add_external_initializers(list(self._outside), values)
        session = onnxruntime.InferenceSession(
            _watched(self._graph, names), options, providers=["CPUExecutionProvider"]
        )
        found = []
        for start in range(0, len(next(iter(self._rows.values()))), BATCH):
            feed = {name: array[start : start + BATCH] for name, array in self._rows.items()}
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
