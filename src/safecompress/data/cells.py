"""`CellTable`, `raw_of_files`: the rows of files whose columns have names, from cells of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safecompress.config import TableSource
from safecompress.data.column_cells import Cells, TextCells, number
from safecompress.data.raw import MAX_CLASSES, Array, Column, Kind, RawData, encode_labels
from safecompress.errors import DataError, did_you_mean

MAX_CATEGORIES = 100
"""Most distinct values of a categorical column; a column with more values is text."""
ROWS_PER_CATEGORY = 2
"""Fewest rows per distinct value, on average, of a categorical column; with fewer it is text."""


@dataclass(frozen=True)
class CellTable:
    """The content of a file, or of a part of one.

    Args:
        path: the file.
        columns: by name their cells, as many in each; at least one column.
        line_of: from the index of a row the number of its line in the file, or of the row.
        label_names: names of the classes that whole numbers in the label's column stand for; empty
            where the file does not say.
    """

    path: Path
    columns: Mapping[str, Cells]
    line_of: Callable[[int], int]
    label_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)


_IDENTIFIER_SHARE = 0.95
"""Share of distinct cells, and of cells with one word, from which a column is an identifier."""
_FEWEST_TO_SUSPECT = 20
"""Fewest rows of a table whose columns are checked for identifiers."""


def raw_of_files(source: TableSource, read: Callable[[Path], CellTable]) -> RawData:
    """Return the rows of a file, or of a train and a test file, with a kind for each column.

    The kinds of columns that are not listed are inferred from all rows of the first file, because
    they are part of the table's schema, like its header. What depends on values (means, categories,
    vocabularies) is learned later and from members only.

    Args:
        source: the file of the train part, that of the test part where there is one, and which
            columns are what.
        read: reads one of them.

    Raises:
        DataError: when columns or cells cannot be used; the message names the file, and the line if
            the fault is in one.
    """
    paths = [source.path, *([] if source.test_path is None else [source.test_path])]
    tables = [read(path) for path in paths]
    if len(tables) > 1:
        _same_columns(*tables)
    train = tables[0]
    kinds = _kinds(train, source)
    columns = tuple(_column(tables, name, kind) for name, kind in kinds.items())
    aside = tuple(_column(tables, name, _kind_aside(tables, name)) for name in source.drop)
    cells = [label for table in tables for label in _label_cells(table, source)]
    labels, names = _named(cells, train) if train.label_names else _labels(cells)
    test_from = len(train) if len(tables) > 1 else None
    return RawData(columns, labels, names, test_from, str(train.path), aside)


def _column(tables: Sequence[CellTable], name: str, kind: Kind) -> Column:
    """Return a column of all files."""
    if kind == "numeric":
        return Column(name, kind, _joined([_numbers(table, name) for table in tables]))
    return Column(name, kind, _joined([table.columns[name].texts for table in tables]))


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _kind_aside(tables: Sequence[CellTable], name: str) -> Kind:
    """Return the kind of a column that is no input; any cell that is no number makes it text."""
    numeric = all(_infer(table.columns[name]) == "numeric" for table in tables)
    return "numeric" if numeric else "categorical"


def _same_columns(train: CellTable, test: CellTable) -> None:
    missing = [name for name in train.header if name not in test.columns]
    extra = [name for name in test.header if name not in train.columns]
    if missing or extra:
        raise DataError(
            f"{test.path}: other columns than {train.path}: missing {missing}, unexpected {extra}; "
            "the test file needs the same header (in any order)."
        )


def _kinds(table: CellTable, source: TableSource) -> dict[str, Kind]:
    """Return the kind of every feature column, in the header's order."""
    if source.label not in table.columns:
        raise DataError(
            f"{table.path}: no label column '{source.label}'"
            f"{did_you_mean(source.label, table.header)}"
        )
    listed: dict[str, Kind] = {}
    groups: tuple[tuple[Kind, Sequence[str]], ...] = (
        ("numeric", source.numeric or ()),
        ("categorical", source.categorical or ()),
        ("text", source.text or ()),
    )
    for kind, names in groups:
        for name in names:
            _check_listed(table, name, source)
            if listed.setdefault(name, kind) != kind:
                raise DataError(
                    f"{table.path}: column '{name}' is listed as {listed[name]} and as {kind}; "
                    "list it once."
                )
    for name in source.drop:
        _check_known(table, name, "drop")
    features = [n for n in table.header if n != source.label and n not in source.drop]
    if "" in features:
        raise DataError(
            f"{table.path}: column {table.header.index('') + 1} has no name; name it, or leave it "
            'out with drop: [""].'
        )
    return {name: listed.get(name) or _inferred(table, name) for name in features}


def _inferred(table: CellTable, name: str) -> Kind:
    """Return a column's kind, and refuse a column that looks like an identifier.

    Terms are learned from members alone. An identifier in every row would therefore give members
    features that no non-member has, and reveal them whatever the model does.
    """
    cells = table.columns[name]
    kind = _infer(cells)
    if kind != "text" or len(cells) < _FEWEST_TO_SUSPECT:
        return kind
    distinct = len(set(cells.texts))
    spaced = sum(len(cell.split()) > 1 for cell in cells.texts)
    if distinct >= _IDENTIFIER_SHARE * len(cells) and spaced <= (1 - _IDENTIFIER_SHARE) * len(
        cells
    ):
        raise DataError(
            f"{table.path}: column '{name}' looks like an identifier ({distinct} distinct "
            f"words in {len(cells)} rows); list it under data.source.drop, or under text if it "
            "really is text."
        )
    return kind


def _check_known(table: CellTable, name: str, what: str) -> None:
    if name not in table.columns:
        raise DataError(
            f"{table.path}: no column '{name}' ({what}){did_you_mean(name, table.header)}"
        )


def _check_listed(table: CellTable, name: str, source: TableSource) -> None:
    _check_known(table, name, "listed as a feature")
    if name == source.label or name in source.drop:
        other = "the label" if name == source.label else "dropped"
        raise DataError(f"{table.path}: column '{name}' is listed as a feature but is {other}.")


def _infer(cells: Cells) -> Kind:
    if cells.numbers is not None and not np.isnan(cells.numbers).all():
        return "numeric"
    distinct = len(set(cells.texts))
    few = distinct <= MAX_CATEGORIES and distinct * ROWS_PER_CATEGORY <= len(cells)
    return "categorical" if few else "text"


def _numbers(table: CellTable, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    cells = table.columns[name]
    if cells.numbers is not None and not np.isinf(cells.numbers).any():
        return cells.numbers
    read = [number(cell) for cell in cells.texts]
    row = next(row for row, value in enumerate(read) if value is None or np.isinf(value))
    raise DataError(
        f"{table.path}, line {table.line_of(row)}: '{cells.texts[row][:100]}' in the numeric "
        f"column '{name}' is no finite number; correct it, leave it empty if unknown, or list "
        "the column as categorical or text."
    )


def _label_cells(table: CellTable, source: TableSource) -> list[str]:
    cells = [cell.strip() for cell in table.columns[source.label].texts]
    if "" in cells:
        raise DataError(
            f"{table.path}, line {table.line_of(cells.index(''))}: the label '{source.label}' is "
            f"empty ({cells.count('')} rows in all); label these rows or remove them."
        )
    return cells


def _labels(cells: list[str]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], tuple[str, ...]]:
    """Return labels as class indices if all are whole numbers from 0, otherwise as names."""
    distinct = set(cells)
    if all(c.isascii() and c.isdigit() and c == c.lstrip("0").zfill(1) for c in distinct):
        numbers = {c: int(c) for c in distinct}
        if max(numbers.values()) < MAX_CLASSES:
            return encode_labels(np.array([numbers[c] for c in cells]), where="labels")
    return encode_labels(np.array(cells, dtype=str), where="labels")


def _named(
    cells: list[str], table: CellTable
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], tuple[str, ...]]:
    """Return labels as the indices of a file's own names of classes."""
    names = table.label_names
    wrong = [c for c in cells if not (c.isascii() and c.isdigit() and int(c) < len(names))]
    if wrong:
        raise DataError(
            f"{table.path}: {len(wrong)} labels are none of its {len(names)} classes (first: "
            f"{wrong[0]}); rows without a label cannot be judged, so leave them out."
        )
    return np.array([int(c) for c in cells], dtype=np.int64), names


def typed_table(
    path: Path, columns: Mapping[str, Sequence[Any]], *, label_names: tuple[str, ...] = ()
) -> CellTable:
    """Return a table of values that have types already.

    Args:
        path: the file.
        columns: by name the values: texts, numbers, yes and no, None where one is missing.
        label_names: as of `CellTable`.

    Raises:
        DataError: on no rows, or a value of another type, such as a list.
    """
    cells = {name: texts_of(path, name, values) for name, values in columns.items()}
    return table_of(path, cells, label_names=label_names)


def table_of(
    path: Path, columns: Mapping[str, Cells], *, label_names: tuple[str, ...] = ()
) -> CellTable:
    """Return a table whose rows are counted from 1, as they have no lines.

    Args:
        path: the file.
        columns: by name their cells.
        label_names: as of `CellTable`.

    Raises:
        DataError: on no rows.
    """
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path}: no rows.")
    return CellTable(path, columns, lambda row: row + 1, label_names)


def texts_of(path: Path, name: str, values: Sequence[Any]) -> TextCells:
    """Return values that have types already as cells.

    Args:
        path: the file.
        name: of the column.
        values: texts, numbers, yes and no, None where one is missing.

    Raises:
        DataError: on a value of another type, such as a list.
    """
    return TextCells([_cell(path, name, value, row) for row, value in enumerate(values)])


def _cell(path: Path, name: str, value: Any, row: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    raise DataError(
        f"{path}, row {row + 1}: column '{name}' holds a {type(value).__name__}; expected texts "
        "and numbers, so list the column under data.source.drop or make it one of these."
    )
