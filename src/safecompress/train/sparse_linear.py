"""Linear layers that compute with the weights that exist, and with no others.

Below a density of about a tenth a CPU multiplies by a compressed sparse row matrix faster than by
the dense matrix with zeros in it, forwards and backwards, and the optimiser's vector of existing
weights is that matrix's values: nothing is gathered.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.train.active import Active, Existing

DENSEST = 0.1
"""Densest layer computed so; above it the dense product is as fast (benchmarks/training.py)."""
SMALLEST = 65_536
"""Fewest entries of a weight, missing ones included; the dense product of a smaller one is over
before the bookkeeping is."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a sparse matrix (outputs, inputs) has its values, by rows and by columns.

    Args:
        shape: outputs and inputs.
        rows: int32 (outputs + 1,), where each row begins among the values.
        columns: int32 (n,), the column of each value.
        rows_t, columns_t: the same of the transposed matrix.
        order_t: int64 (n,), the transposed matrix's values as places among the values.
    """

    shape: tuple[int, int]
    rows: Tensor
    columns: Tensor
    rows_t: Tensor
    columns_t: Tensor
    order_t: Tensor

    @classmethod
    def of(cls, part: Existing) -> Pattern:
        """Return the pattern of a contiguous two-dimensional parameter's existing weights."""
        outputs, inputs = part.parameter.shape
        row, column = part.positions // inputs, part.positions % inputs
        order = torch.argsort(column, stable=True)
        return cls(
            (outputs, inputs),
            _begins(row, outputs),
            column.int(),
            _begins(column[order], inputs),
            row[order].int(),
            order,
        )

    def matrix(self, values: Tensor) -> Tensor:
        """Return the matrix with these values, (n,)."""
        return _csr(self.rows, self.columns, values, self.shape)

    def transposed(self, values: Tensor) -> Tensor:
        """Return the transposed matrix with these values, (n,)."""
        moved = values.index_select(0, self.order_t)
        return _csr(self.rows_t, self.columns_t, moved, self.shape[::-1])


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
            out += bias.unsqueeze(1)
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
            sampled = torch.sparse.sampled_addmm(
                where.matrix(torch.zeros_like(values)), out_t, x_t.t(), beta=0.0
            )
            of_values = sampled.values()
        if ctx.needs_input_grad[2]:
            of_bias = out_t.sum(dim=1)
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


SparseLinears = dict[nn.Linear, tuple[Existing, Pattern]]
"""Layers that compute sparsely, each with its weights and where they are."""


def sparse_linears(active: Active, module: nn.Module) -> SparseLinears:
    """Return the layers worth computing so, with their weights.

    Those are plain, sparse enough `Linear` layers on a CPU in fp32 whose weight nobody shares.

    Args:
        active: what is trained.
        module: the live module.
    """
    owners: dict[int, list[nn.Module]] = {}
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(layer)
    found = {}
    for part in active.values():
        if not isinstance(part, Existing):
            continue
        weight, layers = part.parameter, owners.get(id(part.parameter), [])
        if (
            len(layers) == 1
            and type(layers[0]) is nn.Linear
            and weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and weight.is_contiguous()
            and weight.numel() >= SMALLEST
            and 0 < len(part.positions) <= DENSEST * weight.numel()
        ):
            found[layers[0]] = part, Pattern.of(part)
    return found


@contextmanager
def computing_sparsely(layers: SparseLinears) -> Iterator[None]:
    """Let the layers compute with their existing weights; gradients reach those vectors."""

    def forward_of(layer: nn.Linear, part: Existing, where: Pattern) -> Any:
        def forward(x: Tensor) -> Tensor:
            flat = x.reshape(-1, x.shape[-1])
            values = part.values if part.bits is None else _Rounded.apply(part.values, part)  # type: ignore[no-untyped-call]
            out: Tensor = _Product.apply(flat, values, layer.bias, where)  # type: ignore[no-untyped-call]
            return out.reshape(*x.shape[:-1], out.shape[1])

        return forward

    try:
        for layer, (part, where) in layers.items():
            layer.forward = forward_of(layer, part, where)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _begins(sorted_rows: Tensor, count: int) -> Tensor:
    """Return where each of `count` rows begins among rows in ascending order, (count + 1,)."""
    lengths = torch.bincount(sorted_rows, minlength=count)
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)
