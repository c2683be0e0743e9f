"""Linear and convolution layers that compute with the weights that exist, and with no others.

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
"""Largest share of the dense product's multiplications at which the sparse one is faster
(benchmarks/training.py); a dense convolution multiplies padding as well."""
SMALLEST = 65_536
"""Fewest multiplications for a row in the dense product; a smaller one is over before the
bookkeeping is."""
PER_ACTIVATION = 3
"""What turning an activation round takes, in and out, counted in entries."""
MOST_ENTRIES = 1 << 22
"""Most entries of a convolution's matrix, of 16 bytes each: where it would be larger, images are
large and the dense convolution about as fast."""

IMAGES = 4
"""Axes of a batch of images (n, channels, height, width)."""

Layer = nn.Linear | nn.Conv2d


class _Rounded(torch.autograd.Function):
    """The values as the model computes with them; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, part: ActiveWeights) -> Tensor:
        """Return the values of `part` rounded."""
        del ctx, values
        return part.rounded()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient as it is."""
        del ctx
        return gradients[0], None


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A layer that can compute with its existing weights.

    Args:
        layer: the layer, in the live module.
        part: its weight.
        patterns: per size of the images, or () for vectors, what was made of it so far.
    """

    layer: Layer
    part: ActiveWeights
    patterns: dict[tuple[int, ...], Pattern] = field(default_factory=dict)

    @property
    def existing(self) -> int:
        """Number of weights that exist."""
        return len(self.part.positions)

    def worth(self, x: Tensor) -> bool:
        """Return whether the layer computes inputs of this shape faster so."""
        weights, existing = self.part.parameter.numel(), self.existing
        if isinstance(self.layer, nn.Linear):
            return weights >= SMALLEST and existing <= DENSEST * weights
        if x.ndim != IMAGES:
            return False
        made = image_size(self.layer, _size(x))
        met = 1.0
        for axis, taps in enumerate(self.layer.kernel_size):
            _, inside = pixels(self.layer, axis, torch.arange(taps), _size(x), made)
            met *= float(inside.sum()) / taps
        dense, entries = weights * made[0] * made[1], existing * met
        # By their number and not by the pattern: the masks of one run differ in where weights are,
        # and all of it does the same arithmetic.
        activations = math.prod(x.shape[1:]) + made[0] * made[1] * self.layer.out_channels
        return (
            dense >= SMALLEST
            and entries <= MOST_ENTRIES
            and entries + PER_ACTIVATION * activations <= DENSEST * dense
        )

    def pattern(self, x: Tensor) -> Pattern:
        """Return where the weights are in the matrix for inputs of this shape."""
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
        # What follows a convolution (normalization, pooling) is slow on transposed activations.
        return out.reshape(*x.shape[:-3], *where.image).contiguous()


SparseLayers = Mapping[Layer, SparseLayer]
"""Layers that compute, or may compute, with existing weights only."""


def without_own_gradient(active: Active, layers: SparseLayers) -> list[ActiveWeights]:
    """Return the sparse parameters whose gradient is read from the dense one."""
    direct = {id(layer.part) for layer in layers.values()}
    return [part for part in sparse_parts(active) if id(part) not in direct]


def sparse_layers(active: Active, module: nn.Module) -> SparseLayers:
    """Return the layers that can compute so; whether it is worth it depends on their inputs.

    Those are plain `Linear` layers, and plain `Conv2d` layers of one group padded with zeros, on a
    CPU in fp32, whose weight nobody shares.

    Args:
        active: what is trained.
        module: the live module.
    """
    owners: dict[int, list[nn.Module]] = {}
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(layer)
    found: dict[Layer, SparseLayer] = {}
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
            found[layer] = SparseLayer(layer, part)
    return found


@contextmanager
def computing_sparsely(layers: SparseLayers, *, trial: bool = False) -> Iterator[None]:
    """Let the layers compute with their existing weights; gradients reach those vectors.

    Args:
        layers: the layers.
        trial: whether a layer for whose inputs that is not worth it computes densely instead.
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
    """Which layers compute sparsely: those that gain by it, and whose weight only their call uses.

    A training step tells, one for each number of existing weights that a layer has had.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Layer, int], bool] = {}

    def among(self, layers: SparseLayers, backward: Callable[[], None]) -> SparseLayers:
        """Return the layers that are to compute with their existing weights.

        Args:
            layers: the layers that can.
            backward: makes one step's gradients, moving nothing; called where a layer is unknown.
        """
        unknown = {x: how for x, how in layers.items() if (x, how.existing) not in self._known}
        if unknown:
            with computing_sparsely(unknown, trial=True):
                backward()
            for layer, how in unknown.items():
                # A whole gradient is there where the layer computed densely, or its weight was
                # used without calling it.
                own, whole = how.part.values.grad, how.part.parameter.grad
                self._known[layer, how.existing] = own is not None and whole is None
                how.part.values.grad = None
        return {x: how for x, how in layers.items() if self._known[x, how.existing]}


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
