"""`is_frame` and `raw_from_frame`: data frames as tables whose columns have kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from safecompress.config import ParquetSource
from safecompress.data.cells import CellTable, raw_of_files, typed_table
from safecompress.data.labels import joined, label_values
from safecompress.data.raw import RawData, encode_labels
from safecompress.errors import DataError

_FRAME = Path("data frame")
_TEST = Path("data frame of the test part")


def is_frame(given: Any) -> bool:
    """Return whether inputs are a data frame or one of its columns.

    Args:
        given: any inputs.
    """
    if isinstance(given, np.ndarray | Tensor | list | tuple | dict):
        return False
    return hasattr(given, "iloc") or (hasattr(given, "columns") and hasattr(given, "get_columns"))


def holds_numbers_alone(frame: Any) -> bool:
    """Return whether every column of a frame is of numbers, none missing, and so is one array.

    Args:
        frame: a data frame of pandas or polars, or one of its columns.
    """
    try:
        values = np.asarray(frame)
    except (TypeError, ValueError):
        return False
    return values.dtype.kind in "biu" or (values.dtype.kind == "f" and not np.isnan(values).any())


def raw_from_frame(x: Any, y: Any, *, test: tuple[Any, Any] | None = None) -> RawData:
    """Return a frame's columns, whose kinds are inferred as those of a file.

    A column of pandas' type `category` is categorical whatever its values.

    Args:
        x: a data frame of pandas or polars, without the label.
        y: labels in any form that `label_values` reads.
        test: frame and labels of a separate test part.

    Raises:
        DataError: when columns or labels cannot be used.
    """
    parts = [(_FRAME, x, y), *([] if test is None else [(_TEST, *test)])]
    labels = [label_values(given, where=str(path)) for path, _, given in parts]
    label = "label"
    while any(label in map(str, frame.columns) for _, frame, _ in parts):
        label += "_"
    tables = {
        path: _table(path, frame, label, len(values))
        for (path, frame, _), values in zip(parts, labels, strict=True)
    }
    source = ParquetSource(
        source="parquet",
        path=_FRAME,
        test_path=None if test is None else _TEST,
        label=label,
        categorical=tuple(_categories(x)) or None,
    )
    paths = {source.path: _FRAME, source.test_path: _TEST}
    raw = raw_of_files(source, lambda path: tables[paths[path]])
    given = labels[0] if test is None else joined(*labels, where=str(_FRAME))
    numbers, names = encode_labels(given, where=f"{_FRAME}: labels")
    return replace(raw, labels=numbers, label_names=names, where=str(_FRAME))


def _table(path: Path, frame: Any, label: str, labels: int) -> CellTable:
    if len(frame) != labels:
        raise DataError(
            f"{path}: {len(frame)} rows but {labels} labels; every row needs one label."
        )
    columns: dict[str, Sequence[Any]] = {str(n): _values(frame[n]) for n in frame.columns}
    if len(columns) < len(frame.columns):
        raise DataError(f"{path}: two columns have one name; rename one of each.")
    # Labels are read by themselves; here two values stand for them, which any table may have.
    return typed_table(path, columns | {label: [row % 2 for row in range(labels)]})


def _values(column: Any) -> list[Any]:
    """Return the values of a column, None where one is missing."""
    if not hasattr(column, "isna"):
        return list(column.to_list())
    missing = column.isna().tolist()
    return [None if gone else v for v, gone in zip(column.tolist(), missing, strict=True)]


def _categories(frame: Any) -> list[str]:
    return [str(n) for n in frame.columns if str(frame[n].dtype).lower().startswith("category")]
