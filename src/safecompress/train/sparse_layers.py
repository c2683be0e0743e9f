"""`SparseLayer`: a linear or convolution layer that computes with its existing weights alone.

Below a density of about a tenth a CPU multiplies by a compressed sparse row matrix faster than by
the dense matrix with zeros in it, forwards and backwards. Convolutions gain most on the small
images of deep layers, where dense ones multiply padding as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.train.active import Active, ActiveWeights, sparse_parts
from safecompress.train.sparse_matrix import Pattern, Product, image_size, pixels

DENSEST = 0.1
"""Largest share of the dense product's multiplications at which the sparse product is faster, as
benchmarks/training.py measures it; a dense convolution's multiplications by padding count."""
SMALLEST = 65_536
"""Fewest multiplications for a row in the dense product; below, the overhead of the sparse product
takes longer than the dense one."""
PER_ACTIVATION = 3
"""Cost of transposing an activation before and after the product, in entries of the matrix."""
MOST_ENTRIES = 1 << 22
"""Most entries of a convolution's matrix, of 16 bytes each. It would be larger for large images, on
which the dense convolution is about as fast."""

IMAGES = 4
"""Axes of a batch of images (n, channels, height, width)."""

Layer = nn.Linear | nn.Conv2d


class _Rounded(torch.autograd.Function):
    """Rounds the values of a quantized weight; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, part: ActiveWeights) -> Tensor:
        """Return the values of `part` rounded."""
        del ctx, values
        return part.rounded()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient unchanged."""
        del ctx
        return gradients[0], None


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A layer that can compute with its existing weights.

    Args:
        layer: the layer, in the live module.
        part: its weight.
        patterns: the patterns computed so far, by (height, width) of the inputs, () for vectors.
    """

    layer: Layer
    part: ActiveWeights
    patterns: dict[tuple[int, ...], Pattern] = field(default_factory=dict)

    @property
    def existing(self) -> int:
        """Number of weights that exist."""
        return len(self.part.positions)

    def worth(self, x: Tensor) -> bool:
        """Return whether the sparse product is faster for inputs of this shape.

        Args:
            x: the layer's inputs, (n, …).
        """
        weights, existing = self.part.parameter.numel(), self.existing
        if isinstance(self.layer, nn.Linear):
            return weights >= SMALLEST and existing <= DENSEST * weights
        if x.ndim != IMAGES:
            return False
        size = image_size(self.layer, _size(x))
        places = 1.0
        for axis, taps in enumerate(self.layer.kernel_size):
            _, in_image = pixels(self.layer, axis, torch.arange(taps), _size(x), size)
            places *= float(in_image.sum()) / taps
        # The entries are estimated from the number of weights and not counted in the pattern, so
        # that all masks of a run with as many weights are computed by the same arithmetic.
        dense, entries = weights * size[0] * size[1], existing * places
        activations = math.prod(x.shape[1:]) + size[0] * size[1] * self.layer.out_channels
        return (
            dense >= SMALLEST
            and entries <= MOST_ENTRIES
            and entries + PER_ACTIVATION * activations <= DENSEST * dense
        )

    def pattern(self, x: Tensor) -> Pattern:
        """Return where the weights are in the matrix for inputs of this shape.

        Args:
            x: the layer's inputs, (n, …).
        """
        size = () if isinstance(self.layer, nn.Linear) else _size(x)
        if size not in self.patterns:
            self.patterns[size] = (
                Pattern.of_linear(self.part)
                if isinstance(self.layer, nn.Linear)
                else Pattern.of_convolution(self.layer, self.part, _size(x))
            )
        return self.patterns[size]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the layer's outputs; gradients reach the vector of existing weights."""
        part, where = self.part, self.pattern(x)
        values = part.values if part.bits is None else _Rounded.apply(part.values, part)  # type: ignore[no-untyped-call]
        flat = x.reshape(-1, where.shape[1])
        out: Tensor = Product.apply(flat, values, self.layer.bias, where)  # type: ignore[no-untyped-call]
        if isinstance(self.layer, nn.Linear):
            return out.reshape(*x.shape[:-1], out.shape[1])
        # Normalization and pooling after a convolution are slow on transposed activations.
        return out.reshape(*x.shape[:-3], *where.image).contiguous()


SparseLayers = Mapping[Layer, SparseLayer]
"""Layers that compute, or can compute, with their existing weights alone."""


def without_own_gradient(active: Active, layers: SparseLayers) -> list[ActiveWeights]:
    """Return the sparse parameters whose gradient is read from that of the whole parameter.

    Args:
        active: what the optimizer moves, per parameter name.
        layers: the layers that compute sparsely; gradients of their weights are vectors already.
    """
    direct = {id(layer.part) for layer in layers.values()}
    return [part for part in sparse_parts(active) if id(part) not in direct]


def sparse_layers(active: Active, module: nn.Module) -> SparseLayers:
    """Return the layers that can compute with their existing weights alone.

    These are plain `Linear` layers, and plain `Conv2d` layers of one group padded with zeros, on a
    CPU in fp32, whose weight no other layer shares. Whether it is faster depends on their inputs
    (`SparseLayer.worth`).

    Args:
        active: what the optimizer moves, per parameter name.
        module: the live module.
    """
    owners: dict[int, list[nn.Module]] = {}
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(layer)
    result: dict[Layer, SparseLayer] = {}
    for part in active.values():
        if not isinstance(part, ActiveWeights) or not len(part.positions):
            continue
        weight, layers = part.parameter, owners.get(id(part.parameter), [])
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or len(layers) != 1:
            continue
        layer = layers[0]
        if (type(layer) is nn.Linear and layer.weight is weight) or (
            type(layer) is nn.Conv2d
            and layer.weight is weight
            and layer.groups == 1
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
        ):
            result[layer] = SparseLayer(layer, part)
    return result


@contextmanager
def computing_sparsely(layers: SparseLayers, *, trial: bool = False) -> Iterator[None]:
    """Run a block in which layers compute with their existing weights alone.

    Gradients reach the vectors of existing weights instead of the parameters.

    Args:
        layers: the layers.
        trial: whether a layer computes densely where that is faster for its inputs.
    """

    def forward_of(layer: Layer, how: SparseLayer) -> Any:
        dense = layer.forward

        def forward(x: Tensor) -> Tensor:
            return dense(x) if trial and not how.worth(x) else how(x)

        return forward

    try:
        for layer, how in layers.items():
            layer.forward = forward_of(layer, how)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


class SparseLayerChoice:
    """Decides which layers compute sparsely.

    A layer does where that is faster, and where its weight is used only by calling the layer. One
    backward pass shows both; the answer is kept per layer and number of existing weights.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Layer, int], bool] = {}

    def among(self, layers: SparseLayers, backward: Callable[[], None]) -> SparseLayers:
        """Return the layers that are to compute with their existing weights.

        Args:
            layers: the layers that can.
            backward: computes the gradients of one step and moves no weight; called only where a
                layer has a number of existing weights that is not known yet.
        """
        unknown = {x: how for x, how in layers.items() if (x, how.existing) not in self._known}
        if unknown:
            with computing_sparsely(unknown, trial=True):
                backward()
            for layer, how in unknown.items():
                # The whole parameter has a gradient where the layer computed densely, or where the
                # model used its weight without calling it.
                sparse, whole = how.part.values.grad, how.part.parameter.grad
                self._known[layer, how.existing] = sparse is not None and whole is None
                how.part.values.grad = None
        return {x: how for x, how in layers.items() if self._known[x, how.existing]}


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
