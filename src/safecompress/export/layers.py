"""`Layer`, `layer_of`, `makes_features`: which operators of a graph hold weights, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HOLDS_WEIGHTS = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "Einsum", "LSTM", "GRU", "RNN"}
)
_FLOAT = 1
"""Number of fp32 in ONNX."""


@dataclass(frozen=True)
class Layer:
    """A linear layer, a convolution or a table of a graph.

    Args:
        kind: its operator: `Conv`, `ConvTranspose`, `Gemm`, `MatMul` or `Gather`.
        at: position of the weight among the operator's inputs.
        axis: the weight's axis of output channels, or of rows in a table.
        weight: name of the weight.
        bias: name of the bias, an initializer with a number for every output channel; None where
            the layer has none, or adds something else.
    """

    kind: str
    at: int
    axis: int
    weight: str
    bias: str | None = None

    @property
    def multiplies(self) -> bool:
        """Whether stock onnxruntime has a kernel of integers for it."""
        return self.kind in {"Conv", "Gemm", "MatMul"}


def layer_of(node: Any, held: Mapping[str, Any]) -> Layer | None:
    """Return the layer that an operator is; None for every other operator.

    Args:
        node: an `onnx.NodeProto`.
        held: initializers by name.
    """
    at = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}.get(node.op_type)
    weight = None if at is None or len(node.input) <= at else held.get(node.input[at])
    if at is None or weight is None or weight.data_type != _FLOAT or 0 in weight.dims:
        return None
    sizes, kind = tuple(weight.dims), node.op_type
    if kind in {"Gemm", "MatMul", "Gather"} and (len(sizes) != 2 or not _plain(node)):
        return None
    axis = 1 if kind in {"ConvTranspose", "MatMul"} else 0
    if kind == "Gemm" and not option(node, "transB"):
        axis = 1
    name = node.input[2] if len(node.input) > 2 else ""
    bias = held.get(name)
    fits = bias is not None and tuple(bias.dims) == (sizes[axis],) and bias.data_type == _FLOAT
    return Layer(kind, at, axis, weight.name, name if fits else None)


def makes_features(node: Any, held: Mapping[str, Any]) -> bool:
    """Return whether an operator multiplies by a weight or looks one up.

    Args:
        node: an `onnx.NodeProto`.
        held: initializers by name.
    """
    weights = (held.get(name) for name in node.input)
    return node.op_type in _HOLDS_WEIGHTS and any(
        w is not None and w.data_type == _FLOAT and len(w.dims) > 1 for w in weights
    )


def option(node: Any, name: str) -> int:
    """Return a whole number among an operator's attributes; 0 where it is not there.

    Args:
        node: an `onnx.NodeProto`.
        name: of the attribute.
    """
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def _plain(node: Any) -> bool:
    """Return whether a node is x @ W (+ b) without factors, or a look-up of whole rows."""
    factors = (a.f for a in node.attribute if a.name in {"alpha", "beta"})
    # Of the three operators only Gather has `axis` and only Gemm has `transA`; both default to 0.
    return not option(node, "transA") and not option(node, "axis") and set(factors) <= {1.0}
