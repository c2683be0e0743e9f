"""Linear and convolution layers that compute with the weights that exist, and with no others.

Below a density of about a tenth a CPU multiplies by a compressed sparse row matrix faster than by
the dense matrix with zeros in it, forwards and backwards. A convolution of images of one size is
such a matrix, too: each existing weight stands in it once for every place where it meets a pixel,
and padding costs nothing. On the small images of deep layers that gains most.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.train.active import Active, Existing

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


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a sparse matrix (outputs, inputs) has its entries, by rows and by columns.

    Args:
        shape: outputs and inputs of one row of the batch, flattened.
        image: shape of one output; a vector's has one number.
        rows: int32 (outputs + 1,), where each row begins among the entries.
        columns: int32 (n,), the column of each entry.
        order: int32 (n,), the weight which each entry is; None where entries are the weights.
        rows_t, columns_t, order_t: the same of the transposed matrix; `order_t` is never None.
    """

    shape: tuple[int, int]
    image: tuple[int, ...]
    rows: Tensor
    columns: Tensor
    order: Tensor | None
    rows_t: Tensor
    columns_t: Tensor
    order_t: Tensor

    @classmethod
    def of_linear(cls, part: Existing) -> Pattern:
        """Return the pattern of a linear layer's existing weights."""
        outputs, inputs = part.parameter.shape
        row, column = _coordinates(part)
        return cls._of(row, column, None, (outputs, inputs), (outputs,))

    @classmethod
    def of_convolution(cls, layer: nn.Conv2d, part: Existing, size: tuple[int, int]) -> Pattern:
        """Return the pattern of a convolution's existing weights on images (height, width)."""
        out_channel, in_channel, *taps = _coordinates(part)
        made = _image(layer, size)
        row_pixel, row_meets = _pixels(layer, 0, taps[0], size, made)
        column_pixel, column_meets = _pixels(layer, 1, taps[1], size, made)
        meets = row_meets.unsqueeze(2) & column_meets.unsqueeze(1)
        pixel = row_pixel.unsqueeze(2) * size[1] + column_pixel.unsqueeze(1)
        place = torch.arange(made[0] * made[1]).view(1, *made)
        per_weight = (-1, 1, 1)
        row = (out_channel.view(per_weight) * (made[0] * made[1]) + place)[meets]
        column = (in_channel.view(per_weight) * (size[0] * size[1]) + pixel)[meets]
        weight = torch.arange(len(out_channel)).view(per_weight).expand(meets.shape)[meets]
        order = torch.argsort(row, stable=True)
        return cls._of(
            row[order],
            column[order],
            weight[order],
            (layer.out_channels * made[0] * made[1], layer.in_channels * size[0] * size[1]),
            (layer.out_channels, *made),
        )

    @classmethod
    def _of(
        cls,
        row: Tensor,
        column: Tensor,
        weight: Tensor | None,
        shape: tuple[int, int],
        image: tuple[int, ...],
    ) -> Pattern:
        """Return the pattern of entries in ascending order of their rows."""
        order = torch.argsort(column, stable=True)
        return cls(
            shape,
            image,
            _begins(row, shape[0]),
            column.int(),
            None if weight is None else weight.int(),
            _begins(column[order], shape[1]),
            row[order].int(),
            (order if weight is None else weight[order]).int(),
        )

    def matrix(self, values: Tensor) -> Tensor:
        """Return the matrix with these weights, (n,)."""
        if self.order is not None:
            values = values.index_select(0, self.order)
        return _csr(self.rows, self.columns, values, self.shape)

    def transposed(self, values: Tensor) -> Tensor:
        """Return the transposed matrix with these weights, (n,)."""
        moved = values.index_select(0, self.order_t)
        return _csr(self.rows_t, self.columns_t, moved, self.shape[::-1])

    def sampled(self, outputs: Tensor, inputs: Tensor, weights: int) -> Tensor:
        """Return the gradient of the weights, (weights,).

        Args:
            outputs: gradients of the outputs, (outputs, rows of the batch).
            inputs: the inputs, (inputs, rows of the batch).
            weights: their number.
        """
        zeros = _csr(self.rows, self.columns, outputs.new_zeros(len(self.columns)), self.shape)
        entries = torch.sparse.sampled_addmm(zeros, outputs, inputs.t(), beta=0.0).values()
        if self.order is None:
            return entries
        return entries.new_zeros(weights).index_add_(0, self.order, entries)


class _Product(torch.autograd.Function):
    """x @ W.T + b with a sparse W; activations lie transposed, as the sparse product leaves them.

    References: the product with a compressed sparse row matrix forwards and for the inputs'
    gradient; for the weights' the sampled dense-dense product, which looks at existing ones only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, where: Pattern) -> Tensor:
        """Return (n, outputs) for x (n, inputs)."""
        x_t = x.t().contiguous()
        ctx.save_for_backward(x_t, values)
        ctx.where = where
        out = torch.mm(where.matrix(values), x_t)
        if bias is not None:
            out.view(len(bias), -1).add_(bias.unsqueeze(1))
        return out.t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, the values and the bias."""
        x_t, values = ctx.saved_tensors
        where: Pattern = ctx.where
        out_t = gradients[0].t().contiguous()
        of_x = of_values = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = torch.mm(where.transposed(values), out_t).t()
        if ctx.needs_input_grad[1]:
            of_values = where.sampled(out_t, x_t, len(values))
        if ctx.needs_input_grad[2]:
            of_bias = out_t.view(where.image[0], -1).sum(dim=1)
        return of_x, of_values, of_bias, None


class _Rounded(torch.autograd.Function):
    """The values as the model computes with them; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, part: Existing) -> Tensor:
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
    part: Existing
    patterns: dict[tuple[int, ...], Pattern] = field(default_factory=dict)

    def worth(self, x: Tensor) -> bool:
        """Return whether the layer computes inputs of this shape faster so."""
        weights, existing = self.part.parameter.numel(), len(self.part.positions)
        if isinstance(self.layer, nn.Linear):
            return weights >= SMALLEST and existing <= DENSEST * weights
        if x.ndim != IMAGES:
            return False
        made = _image(self.layer, _size(x))
        met = 1.0
        for axis, taps in enumerate(self.layer.kernel_size):
            _, inside = _pixels(self.layer, axis, torch.arange(taps), _size(x), made)
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
        out: Tensor = _Product.apply(flat, values, self.layer.bias, where)  # type: ignore[no-untyped-call]
        if isinstance(self.layer, nn.Linear):
            return out.reshape(*x.shape[:-1], out.shape[1])
        # What follows a convolution (normalisation, pooling) is slow on transposed activations.
        return out.reshape(*x.shape[:-3], *where.image).contiguous()


SparseLayers = Mapping[Layer, SparseLayer]
"""Layers that compute, or may compute, with existing weights only."""


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
        if not isinstance(part, Existing) or not len(part.positions):
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
        def forward(x: Tensor) -> Tensor:
            if trial and not how.worth(x):
                return type(layer).forward(layer, x)
            return how(x)

        return forward

    try:
        for layer, how in layers.items():
            layer.forward = forward_of(layer, how)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _image(layer: nn.Conv2d, size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the outputs for images of this size."""
    height, width = (
        (size[i] + 2 * int(layer.padding[i]) - layer.dilation[i] * (layer.kernel_size[i] - 1) - 1)
        // layer.stride[i]
        + 1
        for i in range(2)
    )
    return height, width


def _pixels(
    layer: nn.Conv2d, axis: int, tap: Tensor, size: tuple[int, int], made: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return where along an axis each weight looks from each place, and whether a pixel is there.

    Args:
        layer: the convolution.
        axis: 0 for height, 1 for width.
        tap: (weights,), the index of each weight along this axis of the kernel.
        size, made: height and width of the inputs and of the outputs.

    Returns:
        int64 and bool, each (weights, places).
    """
    begin = torch.arange(made[axis]) * layer.stride[axis] - int(layer.padding[axis])
    pixel = begin + tap.unsqueeze(1) * layer.dilation[axis]
    return pixel, (pixel >= 0) & (pixel < size[axis])


def _coordinates(part: Existing) -> list[Tensor]:
    """Return the indices of the existing weights along each axis, in any memory format."""
    shape, strides = part.parameter.shape, part.parameter.stride()
    return [part.positions // s % n for n, s in zip(shape, strides, strict=True)]


def _begins(sorted_rows: Tensor, count: int) -> Tensor:
    """Return where each of `count` rows begins among rows in ascending order, (count + 1,)."""
    lengths = torch.bincount(sorted_rows, minlength=count)
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)
