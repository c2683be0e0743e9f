"""`RawData` and `raw_from_arrays`: rows of a source, before anything is learned from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from safecompress.data.disk import ScratchFile, chunks, is_mapped, taken
from safecompress.data.labels import LabelValues, joined, label_values
from safecompress.errors import DataError

Kind: TypeAlias = Literal["numeric", "categorical", "text"]
Array: TypeAlias = NDArray[Any]

MAX_CLASSES = 65_536
"""Labels are class indices; beyond this an index is far more likely an identifier or a year."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: the column's name, unique in its table.
        kind: `numeric`, `categorical` or `text`.
        values: (n,); float64 with NaN for missing values if `numeric`, otherwise an object array
            of strings.
    """

    name: str
    kind: Kind
    values: Array


@dataclass(frozen=True)
class RawData:
    """All rows of a source; a row's index here is its id everywhere.

    Args:
        columns: one array (n, ...) of numbers, or the columns of a table.
        labels: int64 (n,), class indices from 0.
        label_names: one name per class.
        test_from: index of the first row of the test part; None where the source has one part.
        where: the source's name in messages.
        aside: columns that are no inputs, such as dropped ones; figures can be judged within the
            groups that they name.

    Raises:
        DataError: when lengths differ, there are no rows, or all rows have the same label.
    """

    columns: Array | tuple[Column, ...]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    test_from: int | None = None
    where: str = "data"
    aside: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.labels)
        if n == 0:
            raise DataError(f"{self.where}: no rows; expected at least one labeled row.")
        sizes = (
            {column.name: len(column.values) for column in self.columns}
            if isinstance(self.columns, tuple)
            else {"inputs": len(self.columns)}
        )
        if not sizes:
            raise DataError(f"{self.where}: no columns beside the label; nothing to learn from.")
        sizes |= {column.name: len(column.values) for column in self.aside}
        for name, size in sizes.items():
            if size != n:
                raise DataError(
                    f"{self.where}: {size} rows in {name} but {n} labels; "
                    "every row needs one label."
                )
        if len(np.unique(self.labels)) < 2:
            raise DataError(
                f"{self.where}: all {n} labels are '{self.label_names[int(self.labels[0])]}'; "
                "a classifier needs at least two classes."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.label_names)


def faults_of(column: Column) -> Iterator[str]:
    """Yield a sentence if the values of a column are not of its kind.

    Args:
        column: a column that a source of another package returned.
    """
    values = column.values
    if column.kind not in get_args(Kind):
        yield f"column '{column.name}' is {column.kind!r}; expected {' or '.join(get_args(Kind))}"
    elif values.ndim != 1:
        yield f"column '{column.name}' has shape {values.shape}; expected (n,)"
    elif column.kind != "numeric":
        if values.dtype != object or not all(isinstance(value, str) for value in values):
            yield f"column '{column.name}' is {column.kind} and not of texts (object)"
    elif values.dtype != np.float64 or np.isinf(values).any():
        yield (
            f"column '{column.name}' is numeric and of type {values.dtype}; expected float64, "
            "finite, with NaN for what is missing"
        )


def encode_labels(given: Any, *, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return class indices, int64 (n,), and a name for each class.

    Whole numbers already are class indices and do not change, so that a model that was trained
    elsewhere keeps its classes. Strings become indices in sorted order, which is as good as any
    for a model that is trained on them here.

    Args:
        given: labels in any form that `label_values` reads.
        where: name of the labels in messages.

    Raises:
        DataError: on another shape or type, fractions, NaN, negative or implausibly large labels.
    """
    read = given if isinstance(given, LabelValues) else label_values(given, where=where)
    if read.texts is not None:
        names, indices = np.unique(read.texts.astype(str), return_inverse=True)
        _refuse_many_classes(len(names), where)
        return indices.astype(np.int64), tuple(str(name) for name in names)
    indices = np.asarray(read.numbers)
    refuse_rows(indices < 0, f"{where}: negative labels", "number the classes from 0")
    if len(indices) == 0:
        return np.zeros(0, np.int64), ()
    classes = max(int(indices.max()) + 1, read.columns)
    _refuse_many_classes(classes, where)
    return indices, tuple(str(i) for i in range(classes))


def _refuse_many_classes(classes: int, where: str) -> None:
    if classes > MAX_CLASSES:
        raise DataError(
            f"{where}: the labels make {classes} classes, more than the {MAX_CLASSES} supported; "
            "number the classes from 0 without gaps, and check that this is the label."
        )


def refuse_rows(bad: Array, problem: str, remedy: str) -> None:
    """Check that no row is bad.

    Args:
        bad: bool (n,).
        problem: what is wrong with bad rows, for the message.
        remedy: what to do about it, for the message.

    Raises:
        DataError: when a row is bad; the message names the first such rows.
    """
    if bool(np.any(bad)):
        rows = np.flatnonzero(bad)
        raise DataError(f"{problem} in {len(rows)} rows ({first(rows)}); {remedy}.")


def first(rows: Iterable[int] | Array, *, word: str = "first", count: int = 3) -> str:
    """Return a text that names the first few rows, for messages.

    Args:
        rows: indices or ids of rows.
        word: what stands before the rows.
        count: most rows that are named.

    >>> first([17, 40, 51, 99])
    'first: 17, 40, 51'
    """
    named: Sequence[int] = [int(row) for row in rows][:count]
    return f"{word}: {', '.join(str(row) for row in named)}"


def check_array(x: Array, *, where: str) -> Array:
    """Check that inputs are usable numbers, and return them as a contiguous array.

    Args:
        x: inputs (n, ...).
        where: the inputs' name in messages.

    Raises:
        DataError: on another type, fewer than two dimensions, no features, NaN or infinity.
    """
    if x.dtype.kind not in "biuf":
        what = "strings" if x.dtype.kind in "US" else f"type {x.dtype}"
        raise DataError(
            f"{where}: inputs are {what}; expected numbers"
            f"{' (texts and categories come from a CSV)' if x.dtype.kind in 'US' else ''}."
        )
    if x.ndim < 2:
        raise DataError(
            f"{where}: inputs have shape {x.shape}; expected (n, features) or (n, ...): "
            "use x.reshape(-1, 1) for a single feature."
        )
    if 0 in x.shape[1:]:
        raise DataError(f"{where}: inputs have shape {x.shape}, so no features.")
    if x.dtype.kind == "f":
        # Without any row, NumPy cannot tell what -1 stands for.
        flat = x.reshape(len(x), math.prod(x.shape[1:]))
        finite = np.ones(len(x), dtype=bool)
        for part in chunks(len(x), row_bytes=x[:1].nbytes):
            finite[part] = np.isfinite(taken(flat, part)).all(axis=1)
        refuse_rows(
            ~finite,
            f"{where}: NaN or infinity",
            "drop these rows or fill the values in",
        )
    return np.ascontiguousarray(x)


def raw_from_arrays(
    x: Array,
    y: Any,
    *,
    test: tuple[Array, Any] | None = None,
    where: str = "data",
) -> RawData:
    """Check arrays and return them as raw data.

    Args:
        x: inputs (n, ...), finite numbers, with at least two dimensions.
        y: labels in any form that `label_values` reads: whole numbers from 0 or strings.
        test: inputs and labels of a separate test part, whose rows follow those of `x`.
        where: the data's name in messages.

    Raises:
        DataError: on inputs or labels that cannot be used, or parts that do not fit together.
    """
    x, labels = _check_pair(x, y, where=where)
    test_from = None
    if test is not None:
        test_x, test_labels = _check_pair(*test, where=f"{where} (test part)")
        if test_x.shape[1:] != x.shape[1:] or _family(test_x) != _family(x):
            raise DataError(
                f"{where}: the train part has rows of shape {x.shape[1:]} and type {x.dtype}, the "
                f"test part {test_x.shape[1:]} and {test_x.dtype}; expected the same in both."
            )
        test_from = len(x)
        x, labels = _stacked(x, test_x), joined(labels, test_labels, where=where)
    numbers, names = encode_labels(labels, where=where)
    return RawData(x, numbers, names, test_from, where)


def _check_pair(x: Array, y: Any, *, where: str) -> tuple[Array, LabelValues]:
    x, labels = check_array(x, where=where), label_values(y, where=where)
    encode_labels(labels, where=where)
    if len(x) != len(labels):
        raise DataError(
            f"{where}: {len(x)} rows of inputs but {len(labels)} labels; every row needs one label."
        )
    if len(x) == 0:
        raise DataError(f"{where}: no rows; expected at least one labeled row.")
    return x, labels


def _stacked(x: Array, test_x: Array) -> Array:
    """Return the rows of both parts, on disk where one of them is."""
    if not (is_mapped(x) or is_mapped(test_x)):
        return np.concatenate([x, test_x])
    with ScratchFile(len(x) + len(test_x), x.shape[1:], np.result_type(x, test_x)) as file:
        for rows in (x, test_x):
            for part in chunks(len(rows), row_bytes=rows[:1].nbytes):
                file.write(taken(rows, part))
        return file.array()


def _family(x: Array) -> str:
    return "integer" if x.dtype.kind in "iu" else x.dtype.kind
