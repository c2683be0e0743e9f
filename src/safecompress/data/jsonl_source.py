"""`JsonlRows`: a table from a file of one JSON object a line, or from a train and a test file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from safecompress.config import JsonlSource
from safecompress.data.cells import CellTable, raw_of_files, typed_table
from safecompress.data.npz_source import check_file
from safecompress.data.raw import RawData
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import DataError
from safecompress.files import parsed_json


class JsonlRows(JsonlSource, DataSource):
    """Rows of a file of JSON objects, or of a train and a test file."""

    source: Literal["jsonl"] = "jsonl"

    def load(self, *, seed: int | None) -> RawData:
        """Read the file, or the train and the test file.

        Args:
            seed: not used, because the rows of a file are fixed.

        Raises:
            DataError: when a file cannot be used; the message names the file, and the line if the
                fault is in one.
        """
        del seed
        return raw_of_files(self, lambda path: _read(path, self.drop))


SOURCES.add("jsonl", JsonlRows, summary="numbers, categories and texts in JSON objects, one a line")


def _read(path: Path, drop: tuple[str, ...]) -> CellTable:
    check_file(path)
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    rows.append(_object(path, number, line))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    # A key that is missing in an object is a missing value; nobody asks for the values of a dropped
    # one that are no texts or numbers.
    names = dict.fromkeys(name for row in rows for name in row)
    return typed_table(
        path,
        {name: [_plain(row.get(name), dropped=name in drop) for row in rows] for name in names},
    )


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = parsed_json(line, encodable=True)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({error}).") from error
    if not isinstance(found, dict):
        raise DataError(
            f"{path}, line {number}: a {type(found).__name__}; expected an object with a value for "
            'each column, such as {"text": "…", "label": 0}.'
        )
    return found


def _plain(value: Any, *, dropped: bool) -> Any:
    return json.dumps(value) if dropped and isinstance(value, list | dict) else value
