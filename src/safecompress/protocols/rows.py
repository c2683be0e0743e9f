"""`Rows`, `Outputs`, `Pool`: inputs and outputs of a model, and pairs for the two groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from safecompress.errors import DataError, NonFiniteError
from safecompress.protocols.blocks import by_blocks
from safecompress.protocols.source_rows import SourceRows

TAKEN_BYTES = 64 << 20
"""Bytes beyond which `Rows.take` refers to inputs instead of copying them, and `Outputs.per_row`
does not keep what it computes."""

_JOINED = 1 << 17
"""Largest number of logits in two groups together at which they are read in one pass."""

T = TypeVar("T")
U = TypeVar("U")

Inputs: TypeAlias = "Tensor | Mapping[str, Tensor] | tuple[Tensor, ...]"
"""A pytree of tensors, one row per leading index: one tensor, named tensors, or a tuple of them."""


def map_inputs(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Return inputs of the same structure with `function` applied to every tensor.

    Args:
        function: maps a tensor to a tensor.
        inputs: one tensor, a tuple or a mapping of tensors.
    """
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, tuple):
        return tuple(function(t) for t in inputs)
    return {key: function(t) for key, t in inputs.items()}


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors that inputs consist of, in order.

    Args:
        inputs: one tensor, a tuple or a mapping of tensors.
    """
    if isinstance(inputs, Tensor):
        return (inputs,)
    return inputs if isinstance(inputs, tuple) else tuple(inputs.values())


def leading_size(inputs: Inputs) -> int:
    """Return the number of rows of inputs.

    Args:
        inputs: one tensor, a tuple or a mapping of tensors, each with one row per leading index.
    """
    return len(tensors_of(inputs)[0])


class Table(Protocol):
    """Rows that are no tensors, such as those of a data frame, for a model that takes them."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Table:
        """Return some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        ...

    @property
    def content(self) -> Any:
        """The rows as they were given."""
        ...


@dataclass(frozen=True)
class Rows:
    """Model-ready rows.

    Args:
        inputs: preprocessed inputs, leading size n; of a table, its columns as numbers.
        labels: int64 (n,), class indices from 0.
        ids: int64 (n,), each row's index in the data source; messages and caches name rows by it,
            and no two rows of one data source share one.
        source: the same rows as their source has them, where the inputs were made by something
            that was learned from members, such as a vocabulary; otherwise None.
        table: what the model gets where that is no tensor; None where it gets `inputs`.

    Raises:
        DataError: when there is not one label and one id per input.
    """

    inputs: Inputs
    labels: Tensor
    ids: Tensor
    source: SourceRows | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        n = leading_size(self.inputs)
        if self.source is not None and len(self.source) != n:
            raise DataError(
                f"rows: {n} inputs and {len(self.source)} source rows; expected the same rows."
            )
        if not len(self.labels) == len(self.ids) == n:
            raise DataError(
                f"rows: {n} inputs, {len(self.labels)} labels and {len(self.ids)} ids; "
                "expected one label and one id for every input."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor) -> Inputs:
        """Return the inputs of some of the rows, copied.

        Args:
            index: int64 positions of the rows, from 0.
        """
        return map_inputs(lambda t: t.index_select(0, index.to(t.device)), self.inputs)

    def to(self, device: torch.device) -> Rows:
        """Return the inputs, labels and ids on a device.

        Args:
            device: where to.
        """
        inputs = map_inputs(lambda t: t.to(device), self.inputs)
        return Rows(inputs, self.labels.to(device), self.ids.to(device))

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's inputs."""
        return sum(t.element_size() * t.shape[1:].numel() for t in tensors_of(self.inputs))

    def take(self, index: Tensor) -> Rows:
        """Return some of the rows.

        Many rows are not copied: the result refers to these and copies what is asked of it, so that
        groups of rows that are on disk or share memory do not fill it again.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        count = int(index.sum()) if index.dtype == torch.bool else len(index)
        if count * self.row_bytes > TAKEN_BYTES:
            return TakenRows.of(self, torch.arange(len(self))[index.cpu()])
        return Rows(map_inputs(lambda t: t[index], self.inputs), *self._beside(index))

    def _beside(self, index: Tensor) -> tuple[Tensor, Tensor, SourceRows | None, Table | None]:
        """Return what stands beside the inputs of some of the rows."""
        return (
            self.labels[index],
            self.ids[index],
            None if self.source is None else self.source.take(index),
            None if self.table is None else self.table.take(index),
        )


class TakenRows(Rows):
    """Some of the rows of others, whose inputs are copied each time they are asked for.

    Whoever needs only some inputs at a time asks for a `batch`.
    """

    _whole: Rows
    _index: Tensor

    def __new__(cls, *fields: Any, **named: Any) -> Any:
        """Return plain rows where fields are given, as `dataclasses.replace` does."""
        return Rows(*fields, **named) if fields or named else object.__new__(cls)

    @classmethod
    def of(cls, rows: Rows, index: Tensor) -> TakenRows:
        """Refer to some rows of others.

        Args:
            rows: the others.
            index: int64 positions of the rows.
        """
        taken: TakenRows = cls.__new__(cls)
        labels, ids, source, table = rows._beside(index)
        taken.__dict__.update(labels=labels, ids=ids, source=source, table=table)
        whole, places = rows, index
        if isinstance(rows, TakenRows):
            whole, places = rows._whole, rows._index[index]
        taken.__dict__.update(_whole=whole, _index=places)
        return taken

    @property
    def inputs(self) -> Inputs:
        """A copy of all inputs; see `Rows.inputs`."""
        return self._whole.batch(self._index)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's inputs."""
        return self._whole.row_bytes

    def batch(self, index: Tensor) -> Inputs:
        """Return the inputs of some of the rows, copied.

        Args:
            index: int64 positions of the rows.
        """
        return self._whole.batch(self._index[index])


@dataclass(frozen=True)
class Outputs:
    """A model's logits on some rows with their labels: all that most attacks read.

    Args:
        logits: float32 (n, classes), evaluated in 32-bit precision; finite.
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
        # A finite sum proves that every entry is finite, several times faster than testing each.
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
        """Cross-entropy of each row, float64 (n,), in nats; float64 keeps saturated rows apart."""
        return by_blocks(
            lambda z, y: cross_entropy(z.double(), y, reduction="none"), self.logits, self.labels
        )

    @cached_property
    def predicted(self) -> Tensor:
        """The class with the largest logit of each row, int64 (n,)."""
        return self.logits.argmax(dim=1)

    @cached_property
    def correct(self) -> Tensor:
        """Whether each row is classified correctly, bool (n,)."""
        return self.predicted == self.labels

    def per_row(self, function: Callable[[Outputs], Tensor]) -> Tensor:
        """Return `function(self)`, (n, …), computed once; `take` passes the result on.

        Figures of more than 64 MiB are computed each time instead of being kept.

        Args:
            function: maps outputs to one value per row, which must depend on that row alone. The
                cache is keyed by the function.
        """
        if function not in self._kept:
            values = function(self)
            if values.nbytes > TAKEN_BYTES:
                return values
            self._kept[function] = values
        return self._kept[function]

    def take(self, index: Tensor) -> Outputs:
        """Return the outputs on some of the rows, with what `per_row` has computed for them.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        taken = Outputs(self.logits[index], self.labels[index], self.ids[index])
        taken._kept.update({f: values[index] for f, values in self._kept.items()})
        return taken


def per_row_of_both(pool: Pool[Outputs], function: Callable[[Outputs], Tensor]) -> None:
    """Compute `Outputs.per_row(function)` ahead for two groups in one pass.

    For small groups the overhead of the calls dominates, so the two are concatenated. Large groups
    are left alone and computed on first use, which saves the copy.

    Args:
        pool: outputs on the members and on the non-members.
        function: see `Outputs.per_row`.
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
    results = torch.split(joined.per_row(function), [len(outputs) for outputs in both])
    for outputs, values in zip(both, results, strict=True):
        outputs._kept[function] = values


@dataclass(frozen=True)
class Pool(Generic[T]):
    """A pair of equal types, one for members and one for non-members.

    Args:
        members: the members' side.
        nonmembers: the non-members' side.
    """

    members: T
    nonmembers: T

    def map(self, function: Callable[[T], U]) -> Pool[U]:
        """Return a pool of `function` applied to each side.

        Args:
            function: takes one side.
        """
        return Pool(function(self.members), function(self.nonmembers))

    def zip(self, other: Pool[U], function: Callable[[T, U], Any]) -> Pool[Any]:
        """Return a pool of `function` applied to the same sides of this and another pool.

        Args:
            other: the pool of second arguments.
            function: takes one side of this pool and the same side of the other.
        """
        return Pool(
            function(self.members, other.members), function(self.nonmembers, other.nonmembers)
        )
