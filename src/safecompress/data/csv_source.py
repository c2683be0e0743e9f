"""`CsvRows`: a table from a CSV file, or from a train and a test file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

from safecompress.config import CsvSource
from safecompress.data.cells import CellTable, raw_of_files
from safecompress.data.npz_source import check_file
from safecompress.data.raw import RawData
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError


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
        return raw_of_files(self, lambda path: _read(path, self.delimiter))


SOURCES.add("csv", CsvRows, summary="numbers, categories and texts in a CSV with a header")


def _read(path: Path, delimiter: str) -> CellTable:
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
    return CellTable(path, header, tuple(cells), tuple(lines))
