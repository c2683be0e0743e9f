"""`CsvRows`: a table from a CSV file, or from a train and a test file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from safecompress.config import CsvSource
from safecompress.data.npz_source import check_file
from safecompress.data.raw import MAX_CLASSES, Column, Kind, RawData, encode_labels
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError, did_you_mean

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Cells that stand for a missing number, in lower case."""
MAX_CATEGORIES = 100
"""Most distinct values of a categorical column; a column with more values is text."""
ROWS_PER_CATEGORY = 2
"""Fewest rows per distinct value, on average, of a categorical column; with fewer it is text."""


@dataclass(frozen=True)
class _Table:
    path: Path
    header: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> list[str]:
        index = self.header.index(name)
        return [row[index] for row in self.cells]


_IDENTIFIER_SHARE = 0.95
"""Share of distinct cells, and of cells with one word, from which a column is an identifier."""
_FEWEST_TO_SUSPECT = 20
"""Fewest rows of a table whose columns are checked for identifiers."""


class CsvRows(CsvSource, DataSource):
    """Rows of a CSV file, or of a train and a test file."""

    source: Literal["csv"] = "csv"

    def load(self, *, seed: int | None) -> RawData:
        """Read the file, or the train and the test file.

        The kinds of columns that are not listed are inferred from all rows of the first file,
        because they are part of the table's schema, like its header. What depends on values (means,
        categories, vocabularies) is learned later and from members only.

        Args:
            seed: not used, because the rows of a file are fixed.

        Raises:
            DataError: when a file cannot be used; the message names the file, and the line if the
                fault is in one.
        """
        del seed
        tables = [_read(self.path, self.delimiter)]
        if self.test_path is not None:
            tables.append(_read(self.test_path, self.delimiter))
            _same_columns(*tables)
        train = tables[0]
        kinds = _kinds(train, self)
        columns = tuple(_column(tables, name, kind) for name, kind in kinds.items())
        aside = tuple(_column(tables, name, _kind_aside(tables, name)) for name in self.drop)
        labels, names = _labels([label for table in tables for label in _label_cells(table, self)])
        test_from = len(train.cells) if self.test_path is not None else None
        return RawData(columns, labels, names, test_from, str(self.path), aside)


SOURCES.add("csv", CsvRows, summary="numbers, categories and texts in a CSV with a header")


def _column(tables: Sequence[_Table], name: str, kind: Kind) -> Column:
    """Return a column of all files."""
    if kind == "numeric":
        return Column(name, kind, np.concatenate([_numbers(table, name) for table in tables]))
    cells = [cell for table in tables for cell in table.column(name)]
    return Column(name, kind, np.array(cells, dtype=object))


def _kind_aside(tables: Sequence[_Table], name: str) -> Kind:
    """Return the kind of a column that is no input; any cell that is no number makes it text."""
    numeric = all(_infer(table.column(name)) == "numeric" for table in tables)
    return "numeric" if numeric else "categorical"


def _read(path: Path, delimiter: str) -> _Table:
    check_file(path)
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise DataError(f"{path}: the delimiter must be one character, got {delimiter!r}.")
    cells: list[tuple[str, ...]] = []
    lines: list[int] = []
    header: tuple[str, ...] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            for row in reader:
                if not row:
                    continue
                if header is None:
                    header = tuple(name.strip() for name in row)
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} values but the header names "
                        f"{len(header)} columns; quote values that hold the delimiter "
                        f"{delimiter!r} or a line break."
                    )
                cells.append(tuple(row))
                lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from error
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    if header is None:
        raise DataError(f"{path}: empty; expected a header and rows.")
    if not cells:
        raise DataError(f"{path}: a header but no rows.")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: the header names {repeated} more than once; rename one of each.")
    return _Table(path, header, tuple(cells), tuple(lines))


def _same_columns(train: _Table, test: _Table) -> None:
    missing = [name for name in train.header if name not in test.header]
    extra = [name for name in test.header if name not in train.header]
    if missing or extra:
        raise DataError(
            f"{test.path}: other columns than {train.path}: missing {missing}, unexpected {extra}; "
            "the test file needs the same header (in any order)."
        )


def _kinds(table: _Table, source: CsvSource) -> dict[str, Kind]:
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


def _inferred(table: _Table, name: str) -> Kind:
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


def _check_known(table: _Table, name: str, what: str) -> None:
    if name not in table.header:
        raise DataError(
            f"{table.path}: no column '{name}' ({what}){did_you_mean(name, table.header)}"
        )


def _check_listed(table: _Table, name: str, source: CsvSource) -> None:
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


def _numbers(table: _Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
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


def _label_cells(table: _Table, source: CsvSource) -> list[str]:
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
