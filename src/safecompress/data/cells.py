"""`CellTable`, `raw_of_files`: the rows of files whose columns have names, from cells of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safecompress.config import TableSource
from safecompress.data.raw import MAX_CLASSES, Column, Kind, RawData, encode_labels
from safecompress.errors import DataError, did_you_mean

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Cells that stand for a missing number, in lower case."""
MAX_CATEGORIES = 100
"""Most distinct values of a categorical column; a column with more values is text."""
ROWS_PER_CATEGORY = 2
"""Fewest rows per distinct value, on average, of a categorical column; with fewer it is text."""


@dataclass(frozen=True)
class CellTable:
    """The content of a file, or of a part of one.

    Args:
        path: the file.
        header: names of the columns.
        cells: per row one text per column; an empty one for a missing value.
        lines: number of each row's line in the file, or of the row.
        label_names: names of the classes that whole numbers in the label's column stand for; empty
            where the file does not say.
    """

    path: Path
    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    label_names: tuple[str, ...] = ()

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Args:
            name: one of the header.
        """
        index = self.header.index(name)
        return [row[index] for row in self.cells]


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
    test_from = len(train.cells) if len(tables) > 1 else None
    return RawData(columns, labels, names, test_from, str(train.path), aside)


def _column(tables: Sequence[CellTable], name: str, kind: Kind) -> Column:
    """Return a column of all files."""
    if kind == "numeric":
        return Column(name, kind, np.concatenate([_numbers(table, name) for table in tables]))
    cells = [cell for table in tables for cell in table.column(name)]
    return Column(name, kind, np.array(cells, dtype=object))


def _kind_aside(tables: Sequence[CellTable], name: str) -> Kind:
    """Return the kind of a column that is no input; any cell that is no number makes it text."""
    numeric = all(_infer(table.column(name)) == "numeric" for table in tables)
    return "numeric" if numeric else "categorical"


def _same_columns(train: CellTable, test: CellTable) -> None:
    missing = [name for name in train.header if name not in test.header]
    extra = [name for name in test.header if name not in train.header]
    if missing or extra:
        raise DataError(
            f"{test.path}: other columns than {train.path}: missing {missing}, unexpected {extra}; "
            "the test file needs the same header (in any order)."
        )


def _kinds(table: CellTable, source: TableSource) -> dict[str, Kind]:
    """Return the kind of every feature column, in the header's order."""
    if source.label not in table.header:
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
    cells = table.column(name)
    kind = _infer(cells)
    spaced = sum(len(cell.split()) > 1 for cell in cells)
    if (
        kind == "text"
        and len(cells) >= _FEWEST_TO_SUSPECT
        and len(set(cells)) >= _IDENTIFIER_SHARE * len(cells)
        and spaced <= (1 - _IDENTIFIER_SHARE) * len(cells)
    ):
        raise DataError(
            f"{table.path}: column '{name}' looks like an identifier ({len(set(cells))} distinct "
            f"words in {len(cells)} rows); list it under data.source.drop, or under text if it "
            "really is text."
        )
    return kind


def _check_known(table: CellTable, name: str, what: str) -> None:
    if name not in table.header:
        raise DataError(
            f"{table.path}: no column '{name}' ({what}){did_you_mean(name, table.header)}"
        )


def _check_listed(table: CellTable, name: str, source: TableSource) -> None:
    _check_known(table, name, "listed as a feature")
    if name == source.label or name in source.drop:
        other = "the label" if name == source.label else "dropped"
        raise DataError(f"{table.path}: column '{name}' is listed as a feature but is {other}.")


def _infer(cells: list[str]) -> Kind:
    present = [cell for cell in cells if cell.strip().lower() not in MISSING]
    if present and all(_number(cell) is not None for cell in present):
        return "numeric"
    distinct = len(set(cells))
    few = distinct <= MAX_CATEGORIES and distinct * ROWS_PER_CATEGORY <= len(cells)
    return "categorical" if few else "text"


def _number(cell: str) -> float | None:
    # float() accepts 1_000 as a number, which other readers of CSV take for text.
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(table: CellTable, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.empty(len(table.cells), dtype=np.float64)
    for row, cell in enumerate(table.column(name)):
        missing = cell.strip().lower() in MISSING
        value = float("nan") if missing else _number(cell)
        if value is None or np.isinf(value):
            raise DataError(
                f"{table.path}, line {table.lines[row]}: '{cell}' in the numeric column '{name}' "
                "is no finite number; correct it, leave it empty if unknown, or list the column "
                "as categorical or text."
            )
        values[row] = value
    return values


def _label_cells(table: CellTable, source: TableSource) -> list[str]:
    cells = [cell.strip() for cell in table.column(source.label)]
    if "" in cells:
        raise DataError(
            f"{table.path}, line {table.lines[cells.index('')]}: the label '{source.label}' is "
            f"empty ({cells.count('')} rows in all); label these rows or remove them."
        )
    return cells


def _labels(cells: list[str]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], tuple[str, ...]]:
    """Return labels as class indices if all are whole numbers from 0, otherwise as names."""
    if all(c.isascii() and c.isdigit() and c == c.lstrip("0").zfill(1) for c in cells):
        numbers = [int(c) for c in cells]
        if max(numbers) < MAX_CLASSES:
            return encode_labels(np.array(numbers), where="labels")
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
    names = tuple(columns)
    values = [[_cell(path, name, v, row) for row, v in enumerate(columns[name])] for name in names]
    if not names or not values[0]:
        raise DataError(f"{path}: no rows.")
    rows = tuple(zip(*values, strict=True))
    return CellTable(path, names, rows, tuple(range(1, len(rows) + 1)), label_names)


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
