"""`CsvRows`: a table from a CSV file, or from a train and a test file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safecompress.config import CsvSource
from safecompress.data.arrow_cells import csv_columns
from safecompress.data.cells import CellTable, raw_of_files
from safecompress.data.column_cells import Cells, TextCells, number
from safecompress.data.npz_source import check_file
from safecompress.data.raw import Array, RawData
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError

_WORTH_PYARROW = 1 << 21
"""Bytes from which a file is read sooner by pyarrow than it takes to import it."""
_ROWS_AT_ONCE = 4096
_SAMPLE = 100
"""Rows by which a column of numbers is known, until another cell says otherwise."""
_LONGEST = (1 << 31) - 1
"""Most characters of a cell; a long is no longer on every system."""


class CsvRows(CsvSource, DataSource):
    """Rows of a CSV file, or of a train and a test file."""

    source: Literal["csv"] = "csv"

    def load(self, *, seed: int | None) -> RawData:
        """Read the file, or the train and the test file.

        Args:
            seed: not used, because the rows of a file are fixed.

        Raises:
            DataError: when a file cannot be used; the message names the file, and the line if the
                fault is in one.
        """
        del seed
        return raw_of_files(self, lambda path: _read(path, self))


SOURCES.add("csv", CsvRows, summary="numbers, categories and texts in a CSV with a header")


class _Numbers(Cells):
    """A column of numbers, whose texts are read again where somebody asks for one in a message."""

    def __init__(self, numbers: NDArray[np.float64], read: Callable[[], Array]) -> None:
        self._numbers, self._read = numbers, read

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def numbers(self) -> NDArray[np.float64]:
        return self._numbers

    @cached_property
    def texts(self) -> Array:
        return self._read()


def _read(path: Path, source: CsvSource) -> CellTable:
    check_file(path)
    delimiter = source.delimiter
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise DataError(f"{path}: the delimiter must be one character, got {delimiter!r}.")
    lines = _lines(path, delimiter)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: empty; expected a header and rows.")
    header = tuple(name.strip() for name in first[1])
    times = Counter(header)
    texts = {source.label, *(source.categorical or ()), *(source.text or ())}
    cells = _columns(path, delimiter, [name in texts for name in header], lines)
    if not len(cells[0]):
        raise DataError(f"{path}: a header but no rows.")
    if repeated := sorted(name for name, count in times.items() if count > 1):
        raise DataError(f"{path}: the header names {repeated} more than once; rename one of each.")
    columns = dict(zip(header, cells, strict=True))
    return CellTable(path, columns, lambda row: _line_of(path, delimiter, row))


def _columns(
    path: Path, delimiter: str, texts: Sequence[bool], lines: Iterator[tuple[int, list[str]]]
) -> list[Cells]:
    """Return the cells below the header by column; `lines` yields them where pyarrow does not.

    Columns that are asked for as texts are not tried as numbers.
    """
    if path.stat().st_size >= _WORTH_PYARROW:
        some = list(islice(lines, _SAMPLE))
        numeric = [
            not text and all(number(row[k]) is not None for _, row in some)
            for k, text in enumerate(texts)
        ]
        found = csv_columns(path, delimiter, numeric)
        if found is not None:
            return [
                column
                if isinstance(column, Cells)
                else _Numbers(column, partial(_texts_of, path, delimiter, k))
                for k, column in enumerate(found)
            ]
        lines = chain(some, lines)
    columns: list[list[str]] = [[] for _ in texts]
    while part := [row for _, row in islice(lines, _ROWS_AT_ONCE)]:
        for column, cells in zip(columns, zip(*part, strict=True), strict=True):
            column.extend(cells)
    return [TextCells(column) for column in columns]


def _texts_of(path: Path, delimiter: str, column: int) -> Array:
    rows = islice(_lines(path, delimiter), 1, None)
    return TextCells([row[column] for _, row in rows]).texts


def _lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and every row, each with the number of the line that it ends on.

    Raises:
        DataError: where the file is not UTF-8 or no CSV, or a row has not as many cells as the
            header.
    """
    count = 0
    before = csv.field_size_limit(_LONGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            for row in reader:
                if not row:
                    continue
                count = count or len(row)
                if len(row) != count:
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} values but the header names "
                        f"{count} columns; quote values that hold the delimiter "
                        f"{delimiter!r} or a line break."
                    )
                yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from error
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    finally:
        csv.field_size_limit(before)


def _line_of(path: Path, delimiter: str, row: int) -> int:
    """Return the line that a row ends on; asked for the one row of a message."""
    return next(islice(_lines(path, delimiter), row + 1, None))[0]
