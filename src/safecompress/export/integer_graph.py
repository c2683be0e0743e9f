"""`IntegerGraph`, `Bias`: a graph that is rewritten so that layers compute with integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.export.outside import NOTHING, Outside, array_of
from safecompress.export.packing import QuantizedWeight, steps_with_bias
from safecompress.transforms import affine

Array = NDArray[Any]
_INT32 = np.iinfo(np.int32)
_END = 1 << 40
"""End of the slice that is a whole tensor; below it are the ends of further copies."""


@dataclass(frozen=True)
class Bias:
    """A bias in a graph.

    Args:
        name: of the tensor that the layer reads.
        weight: the layer's weight with scales that fit the bias.
    """

    name: str
    weight: QuantizedWeight


class IntegerGraph:
    """A graph that is rewritten node by node; `finish` puts the result into it.

    Each layer has a weight and a zero point of its own, even where the module calls one layer
    several times: under `session.x64quantprecision` onnxruntime rewrites both for every layer, and
    refuses to rewrite a tensor twice. A further copy is a slice of the whole tensor, which costs
    few bytes and is computed when the file is loaded.

    Args:
        body: an `onnx.GraphProto`.
        outside: values of its large initializers that are not in it.

    Attributes:
        held: its initializers by name.
        nodes: the new nodes so far, in order.
    """

    def __init__(self, body: Any, outside: Outside = NOTHING) -> None:
        self._body, self._outside = body, outside
        self.held = {i.name: i for i in body.initializer}
        self.nodes: list[Any] = []
        self._put: dict[str, Array] = {}
        self._rounded: dict[tuple[str, float, int], str] = {}
        self._uses: dict[str, int] = {}

    def array(self, name: str) -> Array:
        """Return the values of an initializer of the graph.

        Args:
            name: its name.
        """
        return array_of(self.held[name], self._outside)

    def rounded(self, tensor: str, bounds: torch.Tensor) -> str:
        """Return the name of a tensor rounded to uint8, as fp32 numbers again.

        Args:
            tensor: its name in the graph.
            bounds: float32 (2,), its smallest and largest value; values outside are clipped.
        """
        step, zero = affine(bounds.cpu())
        scale, point = np.float32(step.item()), np.uint8(zero.item())
        key = (tensor, float(scale), int(point))
        if key not in self._rounded:
            # Layers with different ranges may read the same tensor; each range has its rounding.
            name = f"{tensor}.rounded{len(self._rounded)}"
            self._put |= {f"{name}_scale": np.array(scale), f"{name}_zero_point": np.array(point)}
            by = [f"{name}_scale", f"{name}_zero_point"]
            self.add("QuantizeLinear", [tensor, *by], f"{name}_number")
            self.add("DequantizeLinear", [f"{name}_number", *by], name)
            self._rounded[key] = name
        return self._rounded[key]

    def bias(self, name: str, bounds: torch.Tensor, rounded: QuantizedWeight) -> Bias | None:
        """Return a layer's bias as int32, and the weight with scales that the bias needs.

        An int32 bias is a multiple of the input's step times the weight's scale. That is no coarser
        than the rounding of the input, unless the input hardly varies: then its step, which comes
        from its distance to zero or is 1, says nothing about what the layer adds up.

        Args:
            name: of the bias, an initializer (output channels,).
            bounds: float32 (2,), smallest and largest value of the layer's input.
            rounded: the layer's weight.

        Returns:
            None where int32 cannot hold the bias, or would round it more than the sum beside it;
            `put` then adds it after the layer.
        """
        step = np.float32(affine(bounds.cpu())[0].item())
        varies = float(bounds[1] - bounds[0])
        most = np.abs(rounded.values.reshape(len(rounded.scale), -1)).max(axis=1, initial=0)
        # A channel without weights has a scale that fits its bias, whatever the step is.
        if (varies * most[most > 0] < step / 2).any():
            return None
        values = self.array(name).astype(np.float64)
        weight = steps_with_bias(rounded, values, step)
        scale = (step * weight).astype(np.float32)
        large = np.abs(values) > scale.astype(np.float64) * _INT32.max
        if not (scale > 0).all() or large.any():
            return None
        numbers = np.rint(values / scale).astype(np.int32)
        stored = self._stored(f"{name}_quantized", numbers, f"{name}_scale", scale)
        exact = f"{stored[0]}_exact"
        if not self._known(exact):
            self.add("DequantizeLinear", list(stored), exact, axis=0)
        return Bias(exact, QuantizedWeight(rounded.values, weight))

    def weight(self, name: str, rounded: QuantizedWeight, *, axis: int) -> str:
        """Return the name of a weight made of its integers, for one layer.

        Args:
            name: of the weight.
            rounded: its integers, output channels first, and scales.
            axis: the axis of its output channels in the graph.
        """
        values = np.ascontiguousarray(np.moveaxis(rounded.values, 0, axis))
        stored, scale = self._stored(f"{name}_quantized", values, f"{name}_scale", rounded.scale)
        point = f"{stored}.zero_point"
        self._put[point] = np.zeros(len(rounded.scale), np.int8)
        use = self._uses[stored] = self._uses.get(stored, 0) + 1
        exact = f"{stored}_exact{use}"
        by = [self._own(stored, use), scale, self._own(point, use)]
        self.add("DequantizeLinear", by, exact, axis=axis)
        return exact

    def put(self, node: Any, *, bias: str = "", places: int = 0) -> None:
        """Add a layer, and a bias that is added to its output in fp32.

        Inside of the layer a bias in fp32 would be of no use: onnxruntime rounds it by the steps of
        input and weight.

        Args:
            node: the layer.
            bias: its bias, which it no longer reads; empty where it has none of that kind.
            places: axes of the output behind that of the channels.
        """
        self.nodes.append(node)
        if not bias:
            return
        del node.input[2:]
        output, apart = node.output[0], f"{bias}.apart{places}"
        node.output[0] = f"{output}.unbiased"
        self._put[apart] = self.array(bias).reshape(-1, *[1] * places)
        self.add("Add", [node.output[0], apart], output)

    def integers(self, name: str, rounded: QuantizedWeight) -> tuple[str, str]:
        """Return the names of a weight's integers, transposed for one layer, and of its scales.

        Args:
            name: of the weight.
            rounded: its integers, output channels first, and scales.
        """
        values = np.ascontiguousarray(rounded.values.T)
        by = f"{name}_integers_scale"
        stored, scale = self._stored(f"{name}_integers", values, by, rounded.scale)
        use = self._uses[stored] = self._uses.get(stored, 0) + 1
        return self._own(stored, use), scale

    def _own(self, tensor: str, use: int) -> str:
        """Return a tensor's name for its `use`-th layer: itself, or a slice that is all of it."""
        if use == 1:
            return tensor
        copy, start, end = f"{tensor}.use{use}", "whole.start", f"whole.end{use}"
        self._put |= {start: np.array([0]), end: np.array([_END - use])}
        self.add("Slice", [tensor, start, end], copy)
        return copy

    def look_up(self, node: Any, rounded: QuantizedWeight) -> None:
        """Write a look-up in a table as int8 rows times each row's scale.

        Args:
            node: a `Gather` of rows.
            rounded: the table.
        """
        from onnx import TensorProto

        (table, at), output = node.input, node.output[0]
        rows = f"{table}_rows"
        self._put |= {rows: rounded.values, f"{rows}_scale": rounded.scale[:, None]}
        self.add("Gather", [rows, at], f"{output}.whole")
        self.add("Gather", [f"{rows}_scale", at], f"{output}.steps")
        self.add("Cast", [f"{output}.whole"], f"{output}.cast", to=TensorProto.FLOAT)
        self.add("Mul", [f"{output}.cast", f"{output}.steps"], output)

    def add(self, operator: str, inputs: list[str], *outputs: str, **attributes: int) -> None:
        """Add a node.

        Args:
            operator: of ONNX.
            inputs: names.
            *outputs: names.
            **attributes: of the operator.
        """
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, list(outputs), **attributes))

    def finish(self) -> None:
        """Put the new nodes and initializers into the graph."""
        from onnx import numpy_helper

        nodes = list(self.nodes)
        del self._body.node[:]
        self._body.node.extend(nodes)
        for name, array in self._put.items():
            self._body.initializer.append(numpy_helper.from_array(np.asarray(array), name))

    def _stored(
        self, name: str, numbers: Array, scale_name: str, scale: NDArray[np.float32]
    ) -> tuple[str, str]:
        """Put integers and scales, under other names where these names hold other numbers."""
        tried = 1
        while True:
            mark = "" if tried == 1 else f".{tried}"
            names = f"{name}{mark}", f"{scale_name}{mark}"
            if names[0] not in self._put:
                self._put |= {names[0]: numbers, names[1]: scale}
                return names
            same = np.array_equal(self._put[names[0]], numbers)
            if same and np.array_equal(self._put[names[1]], scale):
                return names
            tried += 1

    def _known(self, tensor: str) -> bool:
        return any(tensor in node.output for node in self.nodes)
