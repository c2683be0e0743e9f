"""`target_of` and `given_rows`: a model in memory as a target, and rows as it takes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from safecompress.data.classes import ClassList, class_numbers
from safecompress.data.frames import is_frame
from safecompress.data.labels import LabelValues, label_values
from safecompress.data.sequences import are_sequences, padded
from safecompress.errors import DataError, ModelError
from safecompress.protocols import Inputs, Pool, Rows, tensors_of
from safecompress.targets.calling import as_module, fitted
from safecompress.targets.estimator import estimator_of
from safecompress.targets.tables import (
    RowTable,
    columns_as_numbers,
    columns_of,
    same_columns,
    table_of,
)
from safecompress.targets.target import Target
from safecompress.train.predict import answers

Group: TypeAlias = tuple[Any, Any]
"""Inputs and labels of one group. Inputs are a tensor, an array, a data frame, a list of texts, or
a tuple or mapping of tensors; labels are one class for each row."""
_WIDER = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64}
"""Types that torch hardly computes with, and the next that holds all their numbers."""


def target_of(
    model: nn.Module | Callable[..., Any], *, name: str = "", classes: ClassList | None = None
) -> Target:
    """Return a model in memory as a target.

    Args:
        model: a module; a classifier with the methods of scikit-learn, or one of them; or a
            callable that takes the inputs of a batch and returns logits or probabilities.
        name: the model's name in messages and reports; by default its own.
        classes: what the user stated about the order of the columns; None where nothing was.

    Raises:
        ModelError: when it is no model.
    """
    estimator = None if isinstance(model, nn.Module) else estimator_of(model)
    called = model if estimator is None else estimator
    as_module(called)
    named = str(name) or str(getattr(called, "__name__", type(called).__name__))
    return Target(
        path=Path(named),
        kind="module" if estimator is None else "estimator",
        model=called,
        inputs=lambda pool: pool.map(lambda given: inputs_of(given, "data")),
        texts=False,
        labels=() if estimator is None else tuple(map(str, estimator.classes)),
        files=(),
        stated=classes,
    )


def given_rows(target: Target, data: tuple[Group, Group]) -> Pool[Rows]:
    """Return members and non-members that a user gave as the target takes them.

    Args:
        target: the model.
        data: members and non-members, each inputs and labels.

    Raises:
        DataError: when they are no pairs, or inputs and labels do not fit together.
        ModelError: when the target takes other inputs, or one-hot labels have other columns.
    """
    names = ("members", "nonmembers")
    groups = _groups(data)
    inputs, tables = _inputs(target, given_inputs(target, data))
    labels = [label_values(group[1], where=name) for group, name in zip(groups, names, strict=True)]
    rows, start = [], 0
    for i, name in enumerate(names):
        side = (inputs.members, inputs.nonmembers)[i]
        table = None if tables is None else (tables.members, tables.nonmembers)[i]
        sizes = [len(tensor) for tensor in tensors_of(side)]
        if set(sizes) != {len(labels[i])} or not len(labels[i]):
            raise DataError(
                f"{name}: {', '.join(map(str, sizes))} rows of inputs and {len(labels[i])} labels; "
                "expected one label for every row, and at least one row."
            )
        numbers = torch.from_numpy(numbered(target, labels[i], where=name))
        rows.append(Rows(side, numbers, torch.arange(start, start + len(numbers)), table=table))
        start += len(numbers)
    pool = Pool(rows[0], rows[1])
    _require_same_form(pool)
    _require_all_columns(target, pool, labels)
    return pool


def given_inputs(target: Target, data: tuple[Group, Group]) -> Pool[Any]:
    """Return the inputs of members and non-members as a target's `inputs` takes them.

    Args:
        target: the model.
        data: members and non-members, each inputs and labels.

    Raises:
        DataError: when they are no pairs.
    """
    groups = _groups(data)
    given = Pool(groups[0][0], groups[1][0])
    return given.map(lambda g: _by_column(target, g)) if target.files else given


def numbered(target: Target, labels: LabelValues, *, where: str) -> Any:
    """Return labels as the numbers of the target's columns, int64 (n,).

    Args:
        target: the model, with its own names of classes and those that the user stated.
        labels: the labels.
        where: name of the labels in messages.

    Raises:
        DataError: when a label is no class of the target, or nothing says which column it is.
    """
    own, stated = target.own_classes, target.stated
    # Of a classifier that numbers its classes, a number means what it means to the classifier,
    # also where the user gave names to its columns.
    by_own = labels.texts is None and own is not None and own.places is not None
    return class_numbers(labels, own if stated is None or by_own else stated, where=where)


def inputs_of(inputs: Any, where: str) -> Inputs:
    """Return inputs as tensors of the type they were given in, detached from any graph.

    Args:
        inputs: a tensor, an array, or a tuple or mapping of them.
        where: the inputs' name in messages.

    Raises:
        DataError: when a part of them cannot become a tensor without a loss.
    """
    if isinstance(inputs, Mapping):
        parts: Inputs = {str(key): _tensor(v, f"{where}: {key}") for key, v in inputs.items()}
    elif isinstance(inputs, tuple):
        parts = tuple(_tensor(value, where) for value in inputs)
    else:
        return _tensor(inputs, where)
    if not tensors_of(parts):
        raise DataError(f"{where}: inputs are an empty {type(inputs).__name__}.")
    return parts


def _groups(data: Any) -> list[tuple[Any, Any]]:
    sides = _pair(data, "data", "((member inputs, labels), (non-member inputs, labels))")
    named = zip(sides, ("members", "nonmembers"), strict=True)
    return [_pair(side, name, "a pair of inputs and labels") for side, name in named]


def _pair(given: Any, where: str, expected: str) -> tuple[Any, Any]:
    if isinstance(given, str | bytes | Mapping) or is_frame(given):
        raise DataError(f"{where}: expected {expected}; got {type(given).__name__}.")
    try:
        first, second = given
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected {expected}; got {type(given).__name__}.") from error
    return first, second


def _inputs(target: Target, given: Pool[Any]) -> tuple[Pool[Inputs], Pool[RowTable] | None]:
    """Return the inputs as tensors, and as tables where the model takes these."""
    if are_sequences(given.members) or are_sequences(given.nonmembers):
        given = Pool(*padded([given.members, given.nonmembers], where="data"))
    if target.files:
        return target.inputs(given), None
    if isinstance(target.model, nn.Module):
        given = given.map(_numbers_of_table)
    members, others = table_of(given.members), table_of(given.nonmembers)
    if members is None and others is None:
        return Pool(
            inputs_of(given.members, "members"), inputs_of(given.nonmembers, "nonmembers")
        ), None
    if members is None or others is None or not same_columns(Pool(members, others)):
        kinds = " and ".join(type(g).__name__ for g in (given.members, given.nonmembers))
        raise DataError(
            f"data: inputs of members and non-members are {kinds}, or have other columns; expected "
            "the same columns in the same order."
        )
    tables = Pool(members, others)
    return columns_as_numbers(tables), tables


def _by_column(target: Target, given: Any) -> Any:
    """Return a data frame as a mapping of its columns, which file targets take by name."""
    if not is_frame(given):
        return given.detach().cpu() if isinstance(given, Tensor) else given
    columns = columns_of(given)
    if len(getattr(given, "shape", (0, 0))) == 1:
        values = columns["0"]
        return list(values) if target.texts else values
    return {name.partition(":")[2]: values for name, values in columns.items()}


def _numbers_of_table(given: Any) -> Any:
    """Return a table of numbers as one array for a module; refuse texts and categories."""
    if table_of(given) is None:
        return given
    content = given.toarray() if hasattr(given, "tocsr") else given
    array = content.to_numpy() if hasattr(content, "to_numpy") else np.asarray(content)
    if array.dtype.kind == "O":
        with suppress(TypeError, ValueError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise ModelError(
            f"data: inputs are a {type(given).__name__} with cells that are no numbers, and the "
            "model is a torch module, which takes tensors; turn them into numbers as in training, "
            "or audit a callable that does."
        )
    return array


def _tensor(value: Any, where: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    try:
        if isinstance(value, list) and value and all(isinstance(v, Tensor) for v in value):
            return torch.stack([v.detach() for v in value])
        array = np.asarray(value)
        return torch.from_numpy(_plain(array))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{where}: inputs of {type(value).__name__} cannot become a tensor "
            f"({' '.join(str(error).split())[:160]}); give tensors or numeric arrays, preprocessed "
            "as the model wants them."
        ) from error


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array in this machine's byte order, contiguous and writable, without any loss."""
    if array.ndim == 0:
        raise ValueError("expected one row for each label")
    if array.dtype.kind not in "biufc":
        raise TypeError(f"they are of {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise ValueError(f"{int(array.max())} is beyond int64")
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        if not np.array_equal(array, array.astype(np.float64), equal_nan=True):
            raise ValueError(f"{array.dtype} holds more digits than float64")
        array = array.astype(np.float64)
    wanted = _WIDER.get(array.dtype.newbyteorder("="), array.dtype.newbyteorder("="))
    plain = np.ascontiguousarray(array, dtype=wanted)
    return plain if plain.flags.writeable else plain.copy()


def _require_same_form(rows: Pool[Rows]) -> None:
    """Refuse members and non-members whose inputs have other names, shapes or kinds of numbers."""
    first, second = (_form(side.inputs) for side in (rows.members, rows.nonmembers))
    if first != second:
        raise DataError(
            f"data: a member's input is {', '.join(map(str, first))}, a non-member's "
            f"{', '.join(map(str, second))}; expected the same in both, so pad or cut both alike."
        )


def _form(inputs: Inputs) -> list[str]:
    """Return name, kind of numbers and shape of one row of every tensor."""
    names: Iterable[object] = inputs if isinstance(inputs, Mapping) else itertools.repeat("input")
    return [
        f"{name} of {'real' if t.is_floating_point() else 'whole'} numbers {tuple(t.shape[1:])}"
        for name, t in zip(names, tensors_of(inputs), strict=False)
    ]


def _require_all_columns(target: Target, rows: Pool[Rows], labels: list[LabelValues]) -> None:
    """Refuse one-hot labels that leave out a column of the model.

    The columns after a class that no row has would be taken for the classes before.
    """
    widths = {values.columns for values in labels if values.columns}
    if not widths:
        return
    module = as_module(target.model)
    one = rows.members.take(torch.arange(1))
    if not target.files:
        one = fitted(module, Pool(one, one))[0].members
    outputs = answers(module, one)
    columns = outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else 2
    if widths != {columns}:
        raise DataError(
            f"labels are one-hot with {' and '.join(map(str, sorted(widths)))} columns, and "
            f"{target.path} has {columns} classes; give one column for each class, also for one "
            "that no row has, or class numbers."
        )
