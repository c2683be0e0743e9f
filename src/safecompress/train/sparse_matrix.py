"""Sparse matrices that linear layers and convolutions are, and the product with them.

A convolution of images of one size is a matrix in which each existing weight stands once for every
place where it meets a pixel; padding is not in it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.train.active import ActiveWeights


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
    def of_linear(cls, part: ActiveWeights) -> Pattern:
        """Return the pattern of a linear layer's existing weights."""
        outputs, inputs = part.parameter.shape
        row, column = _coordinates(part)
        return cls._of(row, column, None, (outputs, inputs), (outputs,))

    @classmethod
    def of_convolution(
        cls, layer: nn.Conv2d, part: ActiveWeights, size: tuple[int, int]
    ) -> Pattern:
        """Return the pattern of a convolution's existing weights on images (height, width)."""
        out_channel, in_channel, *taps = _coordinates(part)
        made = image_size(layer, size)
        row_pixel, row_meets = pixels(layer, 0, taps[0], size, made)
        column_pixel, column_meets = pixels(layer, 1, taps[1], size, made)
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

    @cached_property
    def _empty(self) -> Tensor:
        return _csr(self.rows, self.columns, torch.zeros(len(self.columns)), self.shape)

    def sampled(self, outputs: Tensor, inputs: Tensor, weights: int) -> Tensor:
        """Return the gradient of the weights, (weights,).

        Args:
            outputs: gradients of the outputs, (outputs, rows of the batch).
            inputs: the inputs, (inputs, rows of the batch).
            weights: their number.
        """
        product = torch.sparse.sampled_addmm(self._empty, outputs, inputs.t(), beta=0.0)
        entries: Tensor = product.values()
        if self.order is None:
            return entries
        return entries.new_zeros(weights).index_add_(0, self.order, entries)


class Product(torch.autograd.Function):
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


def image_size(layer: nn.Conv2d, size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the outputs for images of this size."""
    height, width = (
        (size[i] + 2 * int(layer.padding[i]) - layer.dilation[i] * (layer.kernel_size[i] - 1) - 1)
        // layer.stride[i]
        + 1
        for i in range(2)
    )
    return height, width


def pixels(
    layer: nn.Conv2d, axis: int, tap: Tensor, size: tuple[int, int], made: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return where along an axis each weight looks from each place, and whether a pixel is there.

    Args:
        layer: the convolution.
        axis: 0 for height, 1 for width.
        tap: (weights,), the index of each weight along this axis of the kernel.
        size: height and width of the inputs.
        made: height and width of the outputs.

    Returns:
        int64 and bool, each (weights, places).
    """
    begin = torch.arange(made[axis]) * layer.stride[axis] - int(layer.padding[axis])
    pixel = begin + tap.unsqueeze(1) * layer.dilation[axis]
    return pixel, (pixel >= 0) & (pixel < size[axis])


def _coordinates(part: ActiveWeights) -> list[Tensor]:
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
