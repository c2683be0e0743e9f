"""`ArrowCells`, `csv_columns`: columns that pyarrow reads, without a Python object for each number.

pyarrow is an extra. It is imported here alone, when a file is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.data.column_cells import MISSING, Cells, number, numbers_of
from safecompress.data.raw import Array

_BLOCK = 1 << 24
"""Bytes that are read at once; a row must fit into as many."""
_FIRST = 100
"""Cells that are looked at alone, because words are seen to be none of numbers by the first."""
_QUOTE = ord('"')
_BOM = b"\xef\xbb\xbf"


def find_pyarrow() -> Any:
    """Return pyarrow with what is used of it, or None where it is not installed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        return None
    return pyarrow


class ArrowCells(Cells):
    """Cells that pyarrow holds: texts, numbers, or yes and no.

    They are the cells that `TextCells` would hold of the same values as Python writes them.

    Args:
        values: a chunked array of one of the types that `holds` accepts.
    """

    def __init__(self, values: Any) -> None:
        self._arrow = find_pyarrow()
        types = self._arrow.types
        if types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if types.is_large_string(values.type):
            values = values.cast(self._arrow.string())
        self._values = values

    @staticmethod
    def holds(kind: Any) -> bool:
        """Return whether cells can be held as they are.

        Args:
            kind: a type of pyarrow.
        """
        types = find_pyarrow().types
        if types.is_dictionary(kind):
            kind = kind.value_type
        return bool(
            types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_integer(kind)
            or types.is_float32(kind)
            or types.is_float64(kind)
            or types.is_boolean(kind)
            or types.is_null(kind)
        )

    def __len__(self) -> int:
        return len(self._values)

    @cached_property
    def texts(self) -> Array:
        """The cells as text; equal ones of a column share one object."""
        found = np.empty(len(self), dtype=object)
        if not self._arrow.types.is_string(self._values.type):
            # Among numbers 0.0 and -0.0 are equal, and yet different texts.
            found[:] = [_text(value) for value in self._values.to_pylist()]
            return found
        start = 0
        for chunk in self._values.dictionary_encode().unify_dictionaries().chunks:
            different = np.array([*chunk.dictionary.to_pylist(), ""], dtype=object)
            places = chunk.indices.fill_null(len(different) - 1).to_numpy(zero_copy_only=False)
            found[start : start + len(chunk)] = different[places]
            start += len(chunk)
        return found

    @cached_property
    def numbers(self) -> NDArray[np.float64] | None:
        """The numbers of the cells, rounded to float64 as Python rounds them."""
        arrow, kind = self._arrow, self._values.type
        if arrow.types.is_integer(kind) or arrow.types.is_floating(kind):
            return _floats(self._values.cast(arrow.float64(), safe=False))
        if arrow.types.is_boolean(kind):
            return numbers_of(self.texts)
        if arrow.types.is_null(kind):
            return np.full(len(self), np.nan)
        compute, given = arrow.compute, self._values
        if any(number(cell or "") is None for cell in _first(given)):
            return None
        for _ in range(2):
            absent = compute.is_in(given, value_set=arrow.array(_SPELLED, given.type))
            present = compute.if_else(absent, None, given)
            try:
                read = present.cast(arrow.float64())
            except arrow.ArrowInvalid:
                given = compute.ascii_trim_whitespace(given)
                continue
            return self._as_python_reads(_floats(read), present)
        # What is left are words, and the rare numbers that Python alone reads, such as +1 or １.
        return numbers_of(self.texts)

    def _as_python_reads(
        self, read: NDArray[np.float64], present: Any
    ) -> NDArray[np.float64] | None:
        """Return numbers, or None where pyarrow took for NaN or infinity what Python does not."""
        odd = np.flatnonzero(~np.isfinite(read))
        texts = present.take(self._arrow.array(odd)).unique().to_pylist()
        return None if any(t is not None and number(t) is None for t in texts) else read


def _first(values: Any) -> list[Any]:
    return list(values.slice(0, _FIRST).to_numpy(zero_copy_only=False))


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def _floats(values: Any) -> NDArray[np.float64]:
    """Return a chunked array of float64 as an array of one's own, with NaN for what is missing."""
    found = np.empty(len(values), dtype=np.float64)
    start = 0
    for chunk in values.chunks:
        found[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return found


_SPELLED = sorted(
    {"".join(letters) for word in MISSING for letters in product(*((c, c.upper()) for c in word))}
)
"""Cells that stand for a missing number, in every spelling."""


def csv_columns(
    path: Path, delimiter: str, numeric: Sequence[bool]
) -> list[NDArray[np.float64] | ArrowCells] | None:
    """Return the cells of a CSV file by column, without its header.

    The rows are those that Python's reader finds where it is strict.

    Args:
        path: the file.
        delimiter: the one character between two cells.
        numeric: for each column that the header names whether to expect numbers alone; what is
            found to hold others is read as texts.

    Returns:
        Of each column its numbers, NaN where one is missing, or its texts. None where pyarrow is
        not installed, or the file is one that it does not read, or might read otherwise than Python
        does: what is wrong with it is for Python's reader to say.
    """
    arrow = find_pyarrow()
    if arrow is None or not delimiter.isascii() or not _quoted_as_a_whole(path, delimiter):
        return None
    expected = list(numeric)
    while True:
        try:
            table = _table(arrow, path, delimiter, expected)
        except (arrow.ArrowException, OSError, ValueError) as error:
            told = re.match(r"In CSV column #(\d+): CSV conversion error", str(error))
            if not told or not expected[int(told[1])]:
                return None
            expected[int(told[1])] = False
            continue
        odd = [k for k, number in enumerate(expected) if number and _has_nan(arrow, table[k])]
        if not odd:
            break
        for k in odd:
            expected[k] = False
    found: list[NDArray[np.float64] | ArrowCells] = []
    for as_numbers in expected:
        column = table.column(0)
        # What is taken over can go, so that a table is not held twice.
        table = table.remove_column(0)
        found.append(_floats(column) if as_numbers else ArrowCells(column))
    return found


def _table(arrow: Any, path: Path, delimiter: str, numeric: Sequence[bool]) -> Any:
    names = [str(number) for number in range(len(numeric))]
    types = [arrow.float64() if number else arrow.string() for number in numeric]
    csv = arrow.csv
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(
            column_names=names, skip_rows_after_names=1, block_size=_BLOCK, use_threads=False
        ),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            null_values=_SPELLED,
            strings_can_be_null=False,
        ),
    )


def _has_nan(arrow: Any, column: Any) -> bool:
    """Return whether pyarrow took for NaN what does not stand for a missing number."""
    return bool(arrow.compute.any(arrow.compute.is_nan(column)).as_py())


def _quoted_as_a_whole(path: Path, delimiter: str) -> bool:
    """Return whether quotation marks stand where a cell begins or ends, or are doubled in one.

    A header must begin the file, too, because pyarrow counts empty lines before it.

    pyarrow reads "a"b as ab, and takes the end of the file for a missing mark; a strict reader
    refuses both. Every other mark opens: it follows the end of a cell, or, doubled, the mark before
    it. The others close: the end of the cell follows, or a mark.
    """
    ends = np.zeros(256, dtype=bool)
    ends[[_QUOTE, ord("\n"), ord("\r"), ord(delimiter)]] = True
    marks, tail, last = 0, b"\n", False
    with path.open("rb") as file:
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        if file.peek(1)[:1] in {b"\n", b"\r"}:
            return False
        while not last:
            chunk = file.read(_BLOCK)
            last = not chunk
            part = np.frombuffer(tail + (chunk or b"\n"), dtype=np.uint8)
            places = np.flatnonzero(part[1:-1] == _QUOTE) + 1
            opening, closing = places[marks % 2 :: 2], places[1 - marks % 2 :: 2]
            if not (ends[part[opening - 1]].all() and ends[part[closing + 1]].all()):
                return False
            marks += len(places)
            tail = part[-2:].tobytes()
    return marks % 2 == 0
