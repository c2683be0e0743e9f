"""What goes into a model and what comes out: rows, outputs, and pools of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.errors import DataError, NonFiniteError

_BLOCK = 1 << 20
"""Logits turned into fp64 at once: 8 MB, whatever the classes."""

_JOINED = 1 << 17
"""Logits of two groups up to which they are read in one pass."""

T = TypeVar("T")
U = TypeVar("U")

Inputs: TypeAlias = "Tensor | Mapping[str, Tensor] | tuple[Tensor, ...]"
"""A pytree of tensors, one row per leading index: one tensor, named tensors, or a tuple of them."""


def map_inputs(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Apply `function` to every tensor of `inputs`."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, tuple):
        return tuple(function(t) for t in inputs)
    return {key: function(t) for key, t in inputs.items()}


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors that `inputs` are made of."""
    if isinstance(inputs, Tensor):
        return (inputs,)
    return inputs if isinstance(inputs, tuple) else tuple(inputs.values())


def leading_size(inputs: Inputs) -> int:
    """Return the number of rows of `inputs`."""
    return len(tensors_of(inputs)[0])


@dataclass(frozen=True)
class Rows:
    """Model-ready rows.

    Args:
        inputs: preprocessed inputs, leading size n.
        labels: int64 (n,), class indices from 0.
        ids: int64 (n,), each row's index in the data source; they name rows in messages and
            caches, and no two rows of one data source share one.
    """

    inputs: Inputs
    labels: Tensor
    ids: Tensor

    def __post_init__(self) -> None:
        n = leading_size(self.inputs)
        if not len(self.labels) == len(self.ids) == n:
            raise DataError(
                f"rows: {n} inputs, {len(self.labels)} labels and {len(self.ids)} ids; "
                "expected one label and one id for every input."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Rows:
        """Return the rows at `index` (int64 positions or a bool mask)."""
        return Rows(
            map_inputs(lambda t: t[index], self.inputs), self.labels[index], self.ids[index]
        )


@dataclass(frozen=True)
class Outputs:
    """What a model said about some rows: the hinge between models and attacks.

    Args:
        logits: float32 (n, classes), always evaluated in fp32; finite.
        labels: int64 (n,).
        ids: int64 (n,).

    Raises:
        DataError: on mismatched shapes or labels outside the classes.
        NonFiniteError: on NaN or infinite logits.
    """

    logits: Tensor
    labels: Tensor
    ids: Tensor
    _kept: dict[Callable[[Outputs], Tensor], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if (
            self.logits.ndim != 2
            or len(self.logits) != len(self.labels)
            or len(self.ids) != len(self.labels)
        ):
            raise DataError(
                f"outputs: logits {tuple(self.logits.shape)}, labels {tuple(self.labels.shape)}, "
                f"ids {tuple(self.ids.shape)}; expected (n, classes), (n,) and (n,)."
            )
        # A finite sum proves every entry finite, several times faster than looking at each.
        if not bool(torch.isfinite(self.logits.sum()) or torch.isfinite(self.logits).all()):
            bad = int((~torch.isfinite(self.logits)).any(dim=1).sum())
            raise NonFiniteError(f"outputs: {bad} of {len(self.logits)} rows are NaN or infinite.")
        if (
            len(self.labels)
            and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.logits.shape[1]
        ):
            raise DataError(
                f"outputs: labels run from {int(self.labels.min())} to {int(self.labels.max())} "
                f"but the model has {self.logits.shape[1]} classes."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.logits.shape[1]

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of each row, float64 (n,); fp64 keeps saturated members apart."""
        rows = max(1, _BLOCK // max(1, self.classes))
        blocks = zip(torch.split(self.logits, rows), torch.split(self.labels, rows), strict=True)
        return torch.cat([cross_entropy(z.double(), y, reduction="none") for z, y in blocks])

    @cached_property
    def correct(self) -> Tensor:
        """Whether each row is classified correctly, bool (n,)."""
        return self.logits.argmax(dim=1) == self.labels

    def per_row(self, function: Callable[[Outputs], Tensor]) -> Tensor:
        """Return `function(self)`, (n, …), computed once; `take` carries it along.

        Args:
            function: what it says of a row must depend on that row alone.
        """
        if function not in self._kept:
            self._kept[function] = function(self)
        return self._kept[function]

    def take(self, index: Tensor) -> Outputs:
        """Return the outputs at `index` (int64 positions or a bool mask)."""
        taken = Outputs(self.logits[index], self.labels[index], self.ids[index])
        taken._kept.update({f: values[index] for f, values in self._kept.items()})
        return taken


def per_row_of_both(pool: Pool[Outputs], function: Callable[[Outputs], Tensor]) -> None:
    """Compute what `Outputs.per_row` will be asked for, for two groups in one pass.

    A small group takes as long for the calls as for the numbers, so two are joined; large ones are
    left to be computed one by one, without a copy.
    """
    both = (pool.members, pool.nonmembers)
    small = sum(outputs.logits.numel() for outputs in both) <= _JOINED
    if not small or any(function in outputs._kept for outputs in both):
        return
    joined = Outputs(
        torch.cat([outputs.logits for outputs in both]),
        torch.cat([outputs.labels for outputs in both]),
        torch.cat([outputs.ids for outputs in both]),
    )
    found = torch.split(joined.per_row(function), [len(outputs) for outputs in both])
    for outputs, values in zip(both, found, strict=True):
        outputs._kept[function] = values


@dataclass(frozen=True)
class Pool(Generic[T]):
    """The same kind of thing for members and for non-members."""

    members: T
    nonmembers: T

    def map(self, function: Callable[[T], U]) -> Pool[U]:
        """Apply `function` to both sides."""
        return Pool(function(self.members), function(self.nonmembers))

    def zip(self, other: Pool[U], function: Callable[[T, U], Any]) -> Pool[Any]:
        """Apply `function` to both sides of this and another pool."""
        return Pool(
            function(self.members, other.members), function(self.nonmembers, other.nonmembers)
        )
