"""Whoever reads a table, its rows, its kinds and its faults are the same."""

from __future__ import annotations

import csv
import io
import random

import numpy as np
import pytest

from safecompress.config import CsvSource
from safecompress.data import arrow_cells, csv_source, load_source
from safecompress.data.arrow_cells import ArrowCells, csv_columns
from safecompress.data.cells import texts_of
from safecompress.data.column_cells import TextCells
from safecompress.errors import DataError
from tests.support import count

CELLS = [
    *("", " ", "NA", "nan", "-nan", "nan(1)", "None", " null", "N/A", "0", "-0.0", "1", "+1", "01"),
    *("1.5", " 2 ", ".5", "5.", "1e5", "1e400", "-1e-400", "inf", "-Infinity", "1_0", "0x10", "１"),
    *(
        "a",
        "A",
        "é",
        "\U0001f600",
        "=1+1",
        "a b",
        "\x00",
        "\x1c3",
        "\u00a04",
        "True",
        "#",
        "\\",
        "'",
    ),
    *(
        '"',
        '""',
        'a"b',
        ",",
        ";",
        "\n",
        "\r",
        "\r\n",
        "a,b",
        'x"\n',
        "9" * 30,
        "0.1" + "0" * 30 + "1",
    ),
]
"""Cells that readers of tables treat in different ways."""


def file_of(draw: random.Random) -> tuple[bytes, str]:
    """Return a random CSV file, most often a proper one, and its delimiter."""
    columns, delimiter = draw.randint(1, 4), draw.choice(",,,;\t é")
    # A column of one kind is likely, so that whole columns of numbers come up.
    pools = [draw.choice([CELLS, CELLS[:12], CELLS[9:20], CELLS[26:33]]) for _ in range(columns)]
    text = io.StringIO()
    ends, style = draw.choice(["\n", "\r\n", "\r"]), draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=style)
    writer.writerow([f"c{number}" for number in range(columns)])
    for _ in range(draw.randint(0, 6)):
        writer.writerow([draw.choice(pool) for pool in pools])
    written = draw.choice(["", "", "", "\ufeff"]) + text.getvalue()
    if draw.random() < 0.4:
        place = draw.randint(0, len(written))
        damage = draw.choice(['"', '""', ",", "\n", "\r\n\r\n", "\x00", "\ufeff", ""])
        written = written[:place] + damage + written[place + draw.randint(0, 1) :]
    made = written.encode()
    if draw.random() < 0.05:
        made = made[: draw.randint(0, len(made))] + bytes([draw.randint(128, 255)])
    return made, delimiter


def by_python(path, delimiter):
    """Return the cells of each column as Python's strict reader finds them, or None if it fails."""
    try:
        rows = [row for _, row in csv_source._lines(path, delimiter)]
    except DataError:
        return None
    return [TextCells([row[k] for row in rows[1:]]) for k in range(len(rows[0]))] if rows else None


def same(one, other):
    """Return whether columns are the same as texts and as numbers, bit for bit."""
    numbers = one
    if not isinstance(one, np.ndarray):
        if one.texts.tolist() != other.texts.tolist():
            return False
        numbers = one.numbers
    if numbers is None or other.numbers is None:
        return numbers is other.numbers
    present = ~np.isnan(numbers)
    return np.array_equal(np.isnan(other.numbers), ~present) and (
        numbers[present].tobytes() == other.numbers[present].tobytes()
    )


def test_pyarrow_reads_a_csv_as_python_does_or_leaves_it_to_python(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs the extra safecompress[arrow]")
    path, taken, number = tmp_path / "a.csv", 0, count(150, 50_000)
    for seed in range(number):
        monkeypatch.setattr(arrow_cells, "_BLOCK", [24, 100, 1 << 24][seed % 3])
        made, delimiter = file_of(random.Random(seed))
        path.write_bytes(made)
        expected = by_python(path, delimiter)
        with path.open("rb") as file:
            width = len(expected) if expected else 1 + file.readline().count(delimiter.encode())
        found = csv_columns(path, delimiter, [seed // 3 % 2 == 0] * width)
        if found is not None:
            assert expected is not None, (seed, made)
            for one, other in zip(found, expected, strict=True):
                assert same(one, other), (seed, made)
            taken += 1
    assert taken > number / 3


def test_large_files_have_the_same_rows_and_name_the_same_lines(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs the extra safecompress[arrow]")
    draw = random.Random(0)
    rows = [f'{draw.random()!r},"t, {n % 7}\n",{draw.choice("ab")}' for n in range(500)]
    for damage, message in [
        (None, None),
        ("1,2,a,9", "line 803: 4 values but the header names 3"),
        ('x,"t",a', "line 803: 'x' in the numeric column 'v'"),
        ('1,"t", ', "line 803: the label 'label' is empty"),
    ]:
        lines = rows if damage is None else [*rows[:400], damage, *rows[401:]]
        path = tmp_path / "a.csv"
        path.write_text("\n".join(["v,w,label", "", *lines]))
        ends = []
        for worth in (0, 1 << 40):
            monkeypatch.setattr(csv_source, "_WORTH_PYARROW", worth)
            try:
                source = CsvSource(source="csv", path=path, numeric=("v",))
                raw = load_source(source)
                ends.append([raw.labels.tolist(), *(c.values.tolist() for c in raw.columns)])
            except DataError as error:
                ends.append(str(error))
        assert ends[0] == ends[1]
        assert message is None or message in ends[0]


def test_typed_columns_of_pyarrow_are_the_cells_that_python_writes():
    arrow = pytest.importorskip("pyarrow", reason="needs the extra safecompress[arrow]")
    floats = [None, 0.0, -0.0, 1 / 3, 1e300, float("nan"), float("inf")]
    for values, kind in [
        ([None, 0, -7, 2**53 + 1, 2**63 - 1], arrow.int64()),
        ([2**64 - 1, 3], arrow.uint64()),
        (floats, arrow.float64()),
        ([*floats[:4], 0.1], arrow.float32()),
        ([True, None, False], arrow.bool_()),
        ([None, None], arrow.null()),
        (["a", "1", None, "a", ""], arrow.string()),
        (["1", " 2", None], arrow.large_string()),
        (["1", "2", None, "1"], arrow.dictionary(arrow.int8(), arrow.string())),
    ]:
        parts = [arrow.array(values[:2], kind), arrow.array(values[2:], kind)]
        column = arrow.chunked_array(parts, kind)
        assert ArrowCells.holds(kind)
        assert same(ArrowCells(column), texts_of("a", "v", column.to_pylist())), kind
