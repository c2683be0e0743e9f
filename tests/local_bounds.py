"""Does every tensor of an int8 file stay within its own rounding?

A bound on the answers of a deep network is wide, because the roundings of all layers add up. Here
each operator is computed anew in fp32 from what the file itself gave it, so only the rounding of
its own weight, its own bias and its own input is left, which the scales tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch.nn import functional

from tests.export_models import session
from tests.rounding_bounds import MOST_PAIR, pairs

Array = NDArray[np.float32]
LEVELS = 255
WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}
_CLOSE = 1e-4
"""Share of a tensor's largest number that sums in another order may differ by."""


@dataclass(frozen=True)
class Used:
    """What a tensor uses of what its rounding allows.

    Args:
        share: more than 1 is wrong.
        tensor: its name.
    """

    share: float
    tensor: str


def largest_share(
    exact: onnx.ModelProto, file: onnx.ModelProto, rows: NDArray[Any], largest: int
) -> Used:
    """Return the tensor of a file that uses most of what its rounding allows.

    Args:
        exact: the graph in fp32; tensors of both graphs that mean the same have the same name.
        file: the graph with rounded weights, not packed.
        rows: the members, whose ranges static rounding keeps.
        largest: largest whole number of a weight.
    """
    return max(_Comparison(exact, file, rows, largest).shares(), key=lambda used: used.share)


def _arrays(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


class ConvTranspose(OpRun):
    """A transposed convolution; that of onnx fails where a group has several output channels."""

    op_domain = ""

    def _run(
        self, x: Array, weight: Array, bias: Array | None = None, **attributes: Any
    ) -> tuple[Array]:
        """Return what torch makes of (n, channels, …); no padding of the output is asked for."""
        axes = x.ndim - 2
        pads = attributes["pads"] or [0] * (2 * axes)
        assert pads[:axes] == pads[axes:]
        assert not any(attributes["output_padding"] or [])
        convolve = (functional.conv_transpose1d, functional.conv_transpose2d)[axes - 1]
        made = convolve(
            torch.tensor(x),
            torch.tensor(weight),
            None if bias is None else torch.tensor(bias),
            stride=attributes["strides"] or [1] * axes,
            padding=pads[:axes],
            groups=attributes["group"],
            dilation=attributes["dilations"] or [1] * axes,
        )
        return (made.numpy(),)


def _run(model: onnx.ModelProto, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what every operator of a graph makes of some rows."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    kept = {value.name for value in shown.graph.output}
    made = [name for node in model.graph.node for name in node.output if name and name not in kept]
    shown.graph.output.extend(ValueInfoProto(name=name) for name in made)
    # onnxruntime cuts off some sums of products of int8 where it does not optimize a graph.
    if any(node.op_type == "MatMulInteger" for node in model.graph.node):
        made = [value.name for value in shown.graph.output]
        said = ReferenceEvaluator(shown, new_ops=[ConvTranspose]).run(None, {"inputs": rows})
        return dict(zip(made, said, strict=True)) | {"inputs": rows}
    opened = session(shown.SerializeToString(), optimized=False)
    names = [value.name for value in opened.get_outputs()]
    return dict(zip(names, opened.run(None, {"inputs": rows}), strict=True)) | {"inputs": rows}


class _Comparison:
    def __init__(
        self, exact: onnx.ModelProto, file: onnx.ModelProto, rows: NDArray[Any], largest: int
    ) -> None:
        self.exact, self.file, self.most = exact, file, largest
        self.held, self.stored = _arrays(exact), _arrays(file)
        self.truth, self.found = _run(exact, rows), _run(file, rows)

    def shares(self) -> list[Used]:
        made = {name: node for node in self.file.graph.node for name in node.output}
        shares = [self._rounded(node) for node in self.file.graph.node if self._between(node)]
        for node in self.exact.graph.node:
            name = node.output[0]
            if name in self.found and self.found[name].dtype == np.float32:
                shares.append(self._computed(node, made[name]))
        assert self.exact.graph.output[0].name in self.found
        return shares

    def _between(self, node: Any) -> bool:
        """Return whether an operator makes numbers of what was rounded between layers."""
        return node.op_type == "DequantizeLinear" and node.input[0] not in self.stored | {
            n.output[0]: n for n in self.file.graph.node if n.op_type == "Slice"
        }

    def _rounded(self, node: Any) -> Used:
        """Compare what was rounded with the tensor that it was, and its range with the members'."""
        (first,) = [n for n in self.file.graph.node if node.input[0] in n.output]
        source = first.input[0]
        step, point = self.stored[first.input[1]], int(self.stored[first.input[2]])
        low, high = -point * step, (LEVELS - point) * step
        given, said = self.found[source], self.found[node.output[0]]
        beyond = max(low - self.truth[source].min(), self.truth[source].max() - high)
        off = np.abs(np.clip(given, low, high) - said).max()
        allowed = step / 2 + _CLOSE * np.abs(given).max()
        # No member's number is cut off by more than the rounding of the range itself.
        return Used(max(float(off / allowed), float(beyond / (step * 1.01))), node.output[0])

    def _computed(self, node: Any, mine: Any) -> Used:
        """Compare an operator's output with that of fp32 numbers from the same inputs."""
        name = node.output[0]
        same = mine.op_type == node.op_type
        reads = mine.input if same and len(mine.input) >= len(node.input) else node.input
        given = {
            wanted: self.found[read if read in self.found else wanted]
            for wanted, read in zip(node.input, reads, strict=False)
            if wanted and wanted not in self.held
        }
        held = {wanted: self.held[wanted] for wanted in node.input if wanted in self.held}
        said = self._alone(node, given | held)
        allowed = _CLOSE * np.abs(said).max() + 1e-6
        at = WEIGHTS.get(node.op_type)
        if at is not None and node.input[at] in held:
            rounded = [n for n in self.file.graph.node if mine.input[0] in n.output]
            step = None
            if same and rounded and rounded[0].op_type == "DequantizeLinear":
                step = float(self.stored[rounded[0].input[1]])
            allowed = allowed + self._freedom(node, at, given, held, step, same=same)
        off = np.abs(said - self.found[name])
        return Used(float((off / allowed).max(initial=0.0)), name)

    def _freedom(
        self,
        node: Any,
        at: int,
        given: dict[str, NDArray[Any]],
        held: dict[str, NDArray[Any]],
        known: float | None,
        *,
        same: bool,
    ) -> Array:
        """Return what the rounding of a layer's weight, bias and input may change in its output."""
        weight = held[node.input[at]]
        gemm = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
        kept = 1 if node.op_type in {"ConvTranspose", "MatMul"} else 0
        kept = 1 if node.op_type == "Gemm" and not gemm else kept
        axes = tuple(axis for axis in range(weight.ndim) if axis != kept)
        scale = np.abs(weight).max(axes, keepdims=True) / self.most
        if (same and node.op_type in {"Conv", "Gemm", "MatMul"}) or known is None:
            first = np.array(np.moveaxis(weight, kept, 0))
            least = pairs(torch.from_numpy(first)).numpy() / MOST_PAIR
            scale = np.maximum(scale, np.moveaxis(least, 0, kept))
        half = (np.zeros_like(weight) + scale / 2).astype(np.float32)
        if node.op_type == "Gather":
            (at_rows,) = given.values()
            return np.asarray(half[at_rows], np.float32)
        (source, values), *_ = given.items()
        wide = max(float(values.max()), 0.0) - min(float(values.min()), 0.0)
        step = wide / LEVELS if known is None else known
        inputs = np.zeros_like(values) if same else np.full_like(values, step / 2)
        none = {name: np.zeros_like(array) for name, array in held.items()}
        weights = {**none, node.input[at]: half}
        freedom = self._alone(node, {source: np.abs(values) + inputs, **weights})
        wider = {**none, node.input[at]: np.abs(weight)}
        freedom = freedom + self._alone(node, {source: inputs, **wider})
        if same and len(node.input) > 2:
            # An int32 bias is a multiple of the input's step times the weight's scale.
            freedom = freedom + step * float(scale.max())
        return np.asarray(freedom, np.float32)

    def _alone(self, node: Any, given: dict[str, NDArray[Any]]) -> Array:
        """Compute one operator."""
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in given.items()
        ]
        graph = helper.make_graph([node], "alone", inputs, [ValueInfoProto(name=node.output[0])])
        opsets = list(self.exact.opset_import)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self.exact.ir_version)
        opened = session(model.SerializeToString(), optimized=False)
        (said,) = opened.run(None, given)
        return np.asarray(said)
