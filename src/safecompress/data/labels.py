"""`LabelValues` and `label_values`: labels in any common form, read the same way everywhere.

They are read here and numbered in `safecompress.data.classes`, because only a stated list says
which column of a model's outputs is which class.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from safecompress.errors import DataError

_LARGEST = 2.0**53
"""Largest float64 below which every whole number is exact."""
_OTHER_TASK = (
    ", only recorded predictions can be audited (record_predictions); all else is for models that "
    "choose one of several classes."
)
_FORMS = (
    "expected one label for every row: class numbers or class names, as a list, an array, a tensor "
    "or a column of a data frame"
)


@dataclass(frozen=True)
class LabelValues:
    """Labels as they were given; exactly one of `numbers` and `texts` is not None.

    Args:
        numbers: int64 (n,), whole numbers.
        texts: object (n,), strings without surrounding spaces.
        columns: number of columns of one-hot labels, whose `numbers` are columns; 0 for others.
    """

    numbers: NDArray[np.int64] | None
    texts: NDArray[Any] | None
    columns: int = 0

    def __len__(self) -> int:
        values = self.texts if self.numbers is None else self.numbers
        return 0 if values is None else len(values)


def label_values(given: Any, *, where: str) -> LabelValues:
    """Read labels: whole numbers, booleans or texts, (n,) or (n, 1), or one-hot rows.

    One-hot rows of a data frame stand for the names of its columns.

    Args:
        given: a list, an array of any byte order and stride, a tensor, or a column of a data frame.
        where: name of the labels in messages.

    Raises:
        DataError: when they are not labels; says what was given, and what to do.
    """
    named = _columns_of_frame(given)
    array = _array(given, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2:
        return _one_hot(array, named, where)
    if array.ndim != 1:
        raise DataError(f"{where}: labels have shape {array.shape}; {_FORMS}.")
    return _read(array, where)


def joined(first: LabelValues, second: LabelValues, *, where: str) -> LabelValues:
    """Return the labels of two parts of one data set.

    Args:
        first: labels of the train part.
        second: labels of the test part.
        where: name of the labels in messages.

    Raises:
        DataError: when one part has texts or one-hot rows and the other has not.
    """
    if (first.texts is None) != (second.texts is None) or first.columns != second.columns:
        raise DataError(
            f"{where}: labels are {_kind(first)} in the train part and {_kind(second)} in the test "
            "part; expected the same kind in both."
        )
    if first.texts is not None and second.texts is not None:
        return LabelValues(None, np.concatenate([first.texts, second.texts]))
    numbers = np.concatenate([np.asarray(part.numbers) for part in (first, second)])
    return LabelValues(numbers, None, columns=first.columns)


def _kind(labels: LabelValues) -> str:
    if labels.columns:
        return f"one-hot rows of {labels.columns} columns"
    return "numbers" if labels.texts is None else "texts"


def _columns_of_frame(given: Any) -> list[Any] | None:
    columns = getattr(given, "columns", None)
    return None if columns is None or np.ndim(given) != 2 else list(columns)


def _array(given: Any, where: str) -> NDArray[Any]:
    if isinstance(given, Tensor):
        plain = given.detach().cpu()
        given = (plain.float() if plain.dtype.is_floating_point else plain).numpy()
    if isinstance(given, list | tuple):
        given = [_item(value) for value in given]
        if any(isinstance(value, str | bytes) for value in given):
            # NumPy would turn the numbers among texts into texts.
            found = np.empty(len(given), dtype=object)
            found[:] = given
            return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array = np.asarray(given)
    except (Exception, Warning) as error:
        raise DataError(
            f"{where}: labels of {type(given).__name__} cannot become an array "
            f"({type(error).__name__}: {str(error)[:120]}); {_FORMS}."
        ) from error
    if array.ndim == 0:
        raise DataError(f"{where}: labels are a {type(given).__name__}; {_FORMS}.")
    return array


def _item(value: Any) -> Any:
    """Return a scalar as Python's own, and anything else as it is."""
    if isinstance(value, Tensor | np.ndarray) and np.size(value) == 1 and np.ndim(value) == 0:
        return value.item()
    return value.item() if isinstance(value, np.generic) else value


def _one_hot(array: NDArray[Any], names: list[Any] | None, where: str) -> LabelValues:
    shape = f"{where}: labels have shape {array.shape}"
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{shape} and are no numbers; {_FORMS}.") from error
    ones = (numbers == 1).sum(axis=1)
    if not len(numbers) or not (np.isin(numbers, (0, 1)).all() and (ones == 1).all()):
        raise DataError(
            f"{shape} and are not one-hot (one 1 in every row, the rest 0); {_FORMS}. Of "
            "probabilities of classes, give the true classes: labels.argmax(axis=1). Of several "
            f"labels at once{_OTHER_TASK}"
        )
    chosen = numbers.argmax(axis=1).astype(np.int64)
    if names is None:
        return LabelValues(chosen, None, columns=array.shape[1])
    return _read(np.array([_item(name) for name in names], dtype=object)[chosen], where)


def _read(array: NDArray[Any], where: str) -> LabelValues:
    kind = array.dtype.kind
    if kind == "O":
        return _read_objects(array, where)
    if kind in "UST":
        return _read_texts(array.astype(object), where)
    if kind == "b":
        return LabelValues(array.astype(np.int64), None)
    if kind in "iu":
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{where}: a label is {int(array.max())}; expected a class number.")
        return LabelValues(array.astype(np.int64), None)
    if kind == "f":
        return LabelValues(_whole(array, where), None)
    raise DataError(f"{where}: labels of type {array.dtype}; {_FORMS}.")


def _read_objects(array: NDArray[Any], where: str) -> LabelValues:
    values = [_item(value) for value in array]
    missing = [
        i
        for i, v in enumerate(values)
        if v is None
        or type(v).__name__ in {"NAType", "NaTType"}
        or (isinstance(v, float) and np.isnan(v))
    ]
    if missing:
        raise DataError(
            f"{where}: {len(missing)} labels are missing (first: row {missing[0]}); drop these "
            "rows, or label them."
        )
    kinds = {str if isinstance(v, str | bytes) else type(v) for v in values}
    if kinds <= {str}:
        return _read_texts(np.array(values, dtype=object), where)
    if kinds <= {bool, int}:
        return _read(np.array(values, dtype=np.int64), where)
    if kinds <= {bool, int, float}:
        return _read(np.array(values, dtype=np.float64), where)
    named = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise DataError(f"{where}: labels are objects of types {named}; {_FORMS}.")


def _read_texts(array: NDArray[Any], where: str) -> LabelValues:
    texts = [
        (v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else str(v)).strip()
        for v in array
    ]
    if "" in texts:
        raise DataError(
            f"{where}: {texts.count('')} labels are empty (first: row {texts.index('')}); drop "
            "these rows, or label them."
        )
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return LabelValues(None, found)


def _whole(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    values = array.astype(np.float64)
    finite = np.isfinite(values)
    bad = ~finite | (np.where(finite, values, 0.5) % 1 != 0) | (np.abs(values) > _LARGEST)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{where}: labels that are no whole numbers in {int(bad.sum())} rows (first: "
            f"{values[row]:g} in row {row}); {_FORMS}. Of numbers to predict{_OTHER_TASK}"
        )
    return values.astype(np.int64)
