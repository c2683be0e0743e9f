"""`Pattern`, `Product`: linear layers and convolutions as products with a sparse matrix.

A convolution of images of one size is a product with a matrix. Each existing weight is an entry of
it once for every output pixel at which the weight is multiplied by a pixel of the input;
multiplications by padding are left out.
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
    """Where a sparse matrix (outputs, inputs) has its n entries, by rows and by columns.

    Args:
        shape: numbers of outputs and inputs of one row of the batch, flattened.
        image: shape of one output: (channels, height, width), or (features,) of a linear layer.
        rows: int32 (outputs + 1,), index of each row's first entry.
        columns: int32 (n,), the column of each entry.
        order: int32 (n,), index of the weight that each entry equals; None where entry i is weight
            i.
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
        """Return the pattern of a linear layer's existing weights.

        Args:
            part: the layer's weight.
        """
        outputs, inputs = part.parameter.shape
        row, column = _coordinates(part)
        return cls._of(row, column, None, (outputs, inputs), (outputs,))

    @classmethod
    def of_convolution(
        cls, layer: nn.Conv2d, part: ActiveWeights, size: tuple[int, int]
    ) -> Pattern:
        """Return the pattern of a convolution's existing weights on images of one size.

        Args:
            layer: the convolution, of one group and padded with zeros.
            part: its weight.
            size: height and width of the inputs.
        """
        out_channel, in_channel, *taps = _coordinates(part)
        out_size = image_size(layer, size)
        row_pixel, row_in_image = pixels(layer, 0, taps[0], size, out_size)
        column_pixel, column_in_image = pixels(layer, 1, taps[1], size, out_size)
        in_image = row_in_image.unsqueeze(2) & column_in_image.unsqueeze(1)
        pixel = row_pixel.unsqueeze(2) * size[1] + column_pixel.unsqueeze(1)
        place = torch.arange(out_size[0] * out_size[1]).view(1, *out_size)
        per_weight = (-1, 1, 1)
        row = (out_channel.view(per_weight) * (out_size[0] * out_size[1]) + place)[in_image]
        column = (in_channel.view(per_weight) * (size[0] * size[1]) + pixel)[in_image]
        weight = torch.arange(len(out_channel)).view(per_weight).expand(in_image.shape)[in_image]
        order = torch.argsort(row, stable=True)
        return cls._of(
            row[order],
            column[order],
            weight[order],
            (layer.out_channels * out_size[0] * out_size[1], layer.in_channels * size[0] * size[1]),
            (layer.out_channels, *out_size),
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
        """Return the sparse matrix (outputs, inputs).

        Args:
            values: (weights,), the existing weights.
        """
        if self.order is not None:
            values = values.index_select(0, self.order)
        return _csr(self.rows, self.columns, values, self.shape)

    def transposed(self, values: Tensor) -> Tensor:
        """Return the transposed sparse matrix (inputs, outputs).

        Args:
            values: (weights,), the existing weights.
        """
        entries = values.index_select(0, self.order_t)
        return _csr(self.rows_t, self.columns_t, entries, self.shape[::-1])

    @cached_property
    def _empty(self) -> Tensor:
        return _csr(self.rows, self.columns, torch.zeros(len(self.columns)), self.shape)

    def sampled(self, outputs: Tensor, inputs: Tensor, weights: int) -> Tensor:
        """Return the gradient of the weights, (weights,).

        Args:
            outputs: gradients of the outputs, (outputs, rows of the batch).
            inputs: the inputs, (inputs, rows of the batch).
            weights: number of existing weights.
        """
        product = torch.sparse.sampled_addmm(self._empty, outputs, inputs.t(), beta=0.0)
        entries: Tensor = product.values()
        if self.order is None:
            return entries
        return entries.new_zeros(weights).index_add_(0, self.order, entries)


class Product(torch.autograd.Function):
    """x @ W.T + b with a sparse W.

    Outputs and the inputs' gradient are products with a compressed sparse row matrix, which returns
    transposed activations. The weights' gradient is a sampled dense-dense product, which computes
    the entries of existing weights alone.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, where: Pattern) -> Tensor:
        """Return outputs (n, outputs).

        Args:
            ctx: keeps what `backward` needs.
            x: (n, inputs).
            values: (weights,), the existing weights.
            bias: (channels,), or None.
            where: the pattern of W.
        """
        x_t = x.t().contiguous()
        ctx.save_for_backward(x_t, values)
        ctx.where = where
        out = torch.mm(where.matrix(values), x_t)
        if bias is not None:
            out.view(len(bias), -1).add_(bias.unsqueeze(1))
        return out.t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, the values and the bias; None where not needed.

        Args:
            ctx: as `forward` left it.
            gradients: the gradient of the outputs, (n, outputs).
        """
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
    """Return height and width of a convolution's outputs.

    Args:
        layer: the convolution.
        size: height and width of the inputs.
    """
    height, width = (
        (size[i] + 2 * int(layer.padding[i]) - layer.dilation[i] * (layer.kernel_size[i] - 1) - 1)
        // layer.stride[i]
        + 1
        for i in range(2)
    )
    return height, width


def pixels(
    layer: nn.Conv2d, axis: int, tap: Tensor, size: tuple[int, int], out_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return along one axis which input pixel each weight reads for each output pixel.

    Args:
        layer: the convolution.
        axis: 0 for height, 1 for width.
        tap: (weights,), the index of each weight along this axis of the kernel.
        size: height and width of the inputs.
        out_size: height and width of the outputs.

    Returns:
        The input pixel's index, int64 (weights, output pixels), and whether it is inside the image
        and not padding, bool of the same shape.
    """
    begin = torch.arange(out_size[axis]) * layer.stride[axis] - int(layer.padding[axis])
    pixel = begin + tap.unsqueeze(1) * layer.dilation[axis]
    return pixel, (pixel >= 0) & (pixel < size[axis])


def _coordinates(part: ActiveWeights) -> list[Tensor]:
    """Return the indices of the existing weights along each axis, in any memory format."""
    shape, strides = part.parameter.shape, part.parameter.stride()
    return [part.positions // s % n for n, s in zip(shape, strides, strict=True)]


def _begins(sorted_rows: Tensor, count: int) -> Tensor:
    """Return the index of each row's first entry, int32 (count + 1,), from the entries' rows."""
    lengths = torch.bincount(sorted_rows, minlength=count)
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)
