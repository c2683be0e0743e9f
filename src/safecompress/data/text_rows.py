"""`raw_from_texts`: texts in memory, or pairs of them, as raw rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from safecompress.data.labels import joined, label_values
from safecompress.data.raw import Column, RawData, encode_labels
from safecompress.errors import DataError

_NAMES = {1: ("text",), 2: ("first", "second")}


def raw_from_texts(
    x: Any, y: Any, *, test: tuple[Any, Any] | None = None, where: str = "texts"
) -> RawData:
    """Return texts and their labels as raw rows with a column of texts, or two of a pair.

    Args:
        x: n texts, a list or another sequence; or a tuple of two of them for pairs.
        y: labels in any form that `label_values` reads.
        test: texts and labels of a separate test part, whose rows follow those of `x`.
        where: the data's name in messages.

    Raises:
        DataError: when there are no texts, or not one label for each.
    """
    columns = _columns(x, where)
    labels = label_values(y, where=where)
    test_from = None
    _require_one_label_each(columns, len(labels), where)
    if test is not None:
        others, more = _columns(test[0], f"{where} (test part)"), label_values(test[1], where=where)
        _require_one_label_each(others, len(more), f"{where} (test part)")
        if len(others) != len(columns):
            raise DataError(
                f"{where}: {len(columns)} texts a row in the train part and {len(others)} in the "
                "test part; expected the same in both."
            )
        test_from = len(labels)
        columns = [[*one, *two] for one, two in zip(columns, others, strict=True)]
        labels = joined(labels, more, where=where)
    numbers, names = encode_labels(labels, where=where)
    return RawData(
        tuple(
            Column(name, "text", np.array(texts, dtype=object))
            for name, texts in zip(_NAMES[len(columns)], columns, strict=True)
        ),
        numbers,
        names,
        test_from,
        where,
    )


def _columns(given: Any, where: str) -> list[list[str]]:
    pair = isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], str)
    columns = [list(column) for column in given] if pair else [_listed(given, where)]
    for column in columns:
        if wrong := [type(text).__name__ for text in column if not isinstance(text, str)]:
            raise DataError(
                f"{where}: with a tokenizer the inputs are texts, a list of them or a tuple of two "
                f"lists; got {len(wrong)} of type {wrong[0]}."
            )
    return columns


def _listed(given: Any, where: str) -> list[Any]:
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise DataError(
            f"{where}: with a tokenizer the inputs are texts, a list of them or a tuple of two "
            f"lists; got {type(given).__name__}."
        )
    return list(given)


def _require_one_label_each(columns: list[list[str]], labels: int, where: str) -> None:
    if {len(column) for column in columns} != {labels}:
        sizes = " and ".join(str(len(column)) for column in columns)
        raise DataError(f"{where}: {sizes} texts but {labels} labels; every row needs one label.")
