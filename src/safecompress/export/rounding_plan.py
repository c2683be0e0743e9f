"""`RoundingPlan`, `plan`: which tensors of a graph are rounded for layers that compute in integers.

Every layer's input is rounded. What lies between two layers is rounded, too, where it comes from a
rounded tensor and leads to a layer, so that the runtime stays in integers from one to the next.
Everything from the layers that make the logits to the output stays fp32.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from safecompress.export.format import FP32, INT8_WEIGHTS, NO_LAYERS
from safecompress.export.graph import LOGITS
from safecompress.export.layers import Layer, layer_of, makes_features
from safecompress.export.tidy import nodes_of

_FOLDED = frozenset({"Relu", "Clip"})
"""What onnxruntime folds into the rounding that follows; it cuts off what the rounding would."""
_JOINS = frozenset({"Add", "Mul", "Concat"})
_CHANGES = _FOLDED | {
    "AveragePool", "GlobalAveragePool", "ReduceMean", "LeakyRelu", "Elu", "Tanh", "Sigmoid",
    "HardSigmoid", "HardSwish",
}  # fmt: skip
_MOVES = frozenset(
    {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split"}
)
"""Operators whose outputs are values of their input."""


@dataclass(frozen=True)
class RoundingPlan:
    """What is rounded in a graph.

    Args:
        layers: the layers whose weights become integers, by the place of their node.
        inputs: positions of the inputs that are rounded, by the place of a node.
        whole: tensors that exist in rounded form only, for all who read them.
        ranges: for tensors that share another's range, the name of that tensor.
    """

    layers: Mapping[int, Layer]
    inputs: Mapping[int, tuple[int, ...]]
    whole: frozenset[str]
    ranges: Mapping[str, str]

    def range_of(self, tensor: str) -> str:
        """Return the tensor by whose range a tensor is rounded.

        Args:
            tensor: its name.
        """
        return self.ranges.get(tensor, tensor)

    def rounds(self, place: int, position: int, tensor: str) -> bool:
        """Return whether a node reads a tensor in rounded form.

        Args:
            place: of the node.
            position: of the tensor among the node's inputs.
            tensor: its name.
        """
        return position in self.inputs.get(place, ()) or tensor in self.whole


def plan(body: Any, *, kept: Mapping[str, str] = NO_LAYERS) -> RoundingPlan:
    """Return what is rounded in a graph.

    Args:
        body: an `onnx.GraphProto` in fp32.
        kept: finer number formats of layers, by the names of their weights.
    """
    held = {i.name: i for i in body.initializer}
    found = ((place, layer_of(node, held)) for place, node in enumerate(body.node))
    layers = {p: a for p, a in found if a is not None and kept.get(a.weight) != FP32}
    return _Planner(body, held, layers, kept).plan()


def until_logits(body: Any, held: Mapping[str, Any]) -> frozenset[str]:
    """Return the tensors from the outputs of the layers that make the logits to the logits.

    Args:
        body: an `onnx.GraphProto`.
        held: its initializers by name.
    """
    producers = {output: node for node in body.node for output in node.output}
    exact: set[str] = set()
    ahead = [LOGITS]
    while ahead:
        name = ahead.pop()
        node = producers.get(name)
        if node is None or name in exact:
            continue
        exact |= set(node.output)
        if not makes_features(node, held):
            ahead += [read for inner in _with_inner(node) for read in inner.input]
    return frozenset(exact)


def _with_inner(node: Any) -> Iterator[Any]:
    yield node
    for attribute in node.attribute:
        for inner in [attribute.g, *attribute.graphs]:
            yield from nodes_of(inner)


class _Planner:
    """One walk forward, to what may be rounded, and one back, to what is worth it."""

    def __init__(
        self,
        body: Any,
        held: Mapping[str, Any],
        layers: Mapping[int, Layer],
        kept: Mapping[str, str],
    ) -> None:
        self._nodes, self._held, self._layers = list(body.node), held, layers
        self._kept = kept
        self._exact = until_logits(body, held)
        self._readers: dict[str, list[int]] = defaultdict(list)
        self._inner: set[str] = {value.name for value in body.output}
        for place, node in enumerate(self._nodes):
            for inner in _with_inner(node):
                if inner is not node:
                    self._inner |= set(inner.input)
            for name in node.input:
                self._readers[name].append(place)
        self._integer = {place for place in layers if self._computes_in_integers(place)}
        self._ready: set[str] = {self._nodes[place].input[0] for place in self._integer}
        self._folded: set[int] = set()
        self._candidates: dict[int, tuple[int, ...]] = {}

    def plan(self) -> RoundingPlan:
        for place, node in enumerate(self._nodes):
            if place in self._folded:
                continue
            if place not in self._integer:
                positions = self._may_round(node)
                if not positions:
                    continue
                self._candidates[place] = positions
                self._ready |= {self._settled(output) for output in node.output}
            elif node.op_type == "Conv":
                self._ready.add(self._settled(node.output[0]))
        worth = self._worth()
        inputs: dict[int, tuple[int, ...]] = dict.fromkeys(self._integer, (0,))
        whole: set[str] = set()
        ranges: dict[str, str] = {}
        for place in sorted(self._integer | worth):
            node = self._nodes[place]
            if place in worth:
                inputs[place] = self._candidates[place]
            elif node.op_type != "Conv":
                continue
            settled = [self._settled(output) for output in node.output if output]
            whole |= set(settled)
            if place in worth and node.op_type in _MOVES:
                source = node.input[0]
                ranges |= dict.fromkeys(settled, ranges.get(source, source))
        return RoundingPlan(self._layers, inputs, frozenset(whole), ranges)

    def _computes_in_integers(self, place: int) -> bool:
        layer, node = self._layers[place], self._nodes[place]
        if self._kept.get(layer.weight) == INT8_WEIGHTS:
            return False
        # onnxruntime's convolution of integers has no output in fp32, its products have.
        return layer.multiplies and not (layer.kind == "Conv" and node.output[0] in self._exact)

    def _settled(self, tensor: str) -> str:
        """Return the tensor after a ReLU that the rounding of `tensor` absorbs."""
        readers = self._readers[tensor]
        if len(readers) == 1 and tensor not in self._inner:
            node = self._nodes[readers[0]]
            bounds = [name for name in node.input[1:] if name]
            if node.op_type in _FOLDED and all(name in self._held for name in bounds):
                self._folded.add(readers[0])
                return str(node.output[0])
        return tensor

    def _may_round(self, node: Any) -> tuple[int, ...]:
        """Return the positions of the inputs that would be rounded for an operator, or none."""
        if not self._exact.isdisjoint(node.output) or len(node.output) != len(set(node.output)):
            return ()
        if node.op_type in _JOINS:
            positions = tuple(range(len(node.input)))
        elif node.op_type in _CHANGES | _MOVES and (
            node.op_type != "MaxPool" or len(node.output) == 1
        ):
            positions = (0,)
        else:
            return ()
        return positions if all(node.input[at] in self._ready for at in positions) else ()

    def _worth(self) -> set[int]:
        """Return the candidates from which a layer of integers is reached in rounded form."""
        leading = {self._nodes[place].input[0] for place in self._integer}
        worth: set[int] = set()
        for place in sorted(self._candidates, reverse=True):
            node = self._nodes[place]
            if any(self._settled(output) in leading for output in node.output):
                worth.add(place)
                leading |= {node.input[at] for at in self._candidates[place]}
        return worth
