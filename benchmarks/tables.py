"""How long does reading a table take, and how much memory?

    OMP_NUM_THREADS=1 python -m benchmarks.tables [CASE ...] [--source FOLDER --label NAME]

The table has a million rows of 20 columns: 16 of numbers with 17 digits, two of categories, one of
short texts, which is dropped, and the label. A cell is one reading of it as a source of rows, in a
process of its own on one thread: its seconds of computing, and the peak of resident memory over
that after the imports. `bare-pyarrow` and `bare-pandas` read the CSV into their own tables, with
types that they guess. `--source` runs another checkout's package, `--label` names its cells apart.

What the stored cells say is in the table that the command prints; `before` held a Python string for
every cell, and read a CSV without pyarrow, as the program still does where it is not installed
(`csv-without-pyarrow`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cells import Cells, add_out

HERE = Path(__file__).parents[1] / "src"
ROWS, NUMBERS = 1_000_000, 16
CASES = ("csv", "csv-without-pyarrow", "parquet", "bare-pyarrow", "bare-pandas")
_AT_ONCE = 50_000


def write_tables(folder: Path) -> None:
    """Write the table as a CSV and as a Parquet file.

    Args:
        folder: for `table.csv` and `table.parquet`.
    """
    import numpy as np
    import pyarrow
    from pyarrow import csv, parquet

    draw = np.random.default_rng(0)
    sheets, files = None, None
    for start in range(0, ROWS, _AT_ONCE):
        x = draw.normal(size=(_AT_ONCE, NUMBERS))
        columns: dict[str, Any] = {f"x{k}": x[:, k] for k in range(NUMBERS)}
        columns["town"] = draw.choice(["Oslo", "Rome", "Lima", "New York"], _AT_ONCE)
        columns["plan"] = draw.choice(["basic, monthly", "full, yearly"], _AT_ONCE)
        columns["note"] = [f"customer {start + row}" for row in range(_AT_ONCE)]
        columns["label"] = (x[:, 0] > 0).astype(int)
        part = pyarrow.table(columns)
        sheets = sheets or csv.CSVWriter(folder / "table.csv", part.schema)
        files = files or parquet.ParquetWriter(folder / "table.parquet", part.schema)
        sheets.write(part)
        files.write(part)
    if sheets and files:
        sheets.close()
        files.close()


def measure(case: str, folder: Path) -> dict[str, Any]:
    """Return the cell of a case, made in this process.

    Args:
        case: one of `CASES`.
        folder: with the tables.
    """
    import pandas
    import pyarrow.csv
    import pyarrow.parquet

    from safecompress.config import CsvSource, ParquetSource
    from safecompress.data import load_source

    path = folder / ("table.parquet" if case == "parquet" else "table.csv")
    if case == "csv-without-pyarrow":
        sys.modules["pyarrow"] = None  # type: ignore[assignment]
    before, started = _peak(), time.process_time()
    if case == "bare-pandas":
        held: Any = pandas.read_csv(path)
    elif case == "bare-pyarrow":
        held = pyarrow.csv.read_csv(path)
    elif case == "parquet":
        held = load_source(ParquetSource(source="parquet", path=path, drop=("note",)))
    else:
        held = load_source(CsvSource(source="csv", path=path, drop=("note",)))
    return {
        "case": case,
        "rows": len(held),
        "bytes": path.stat().st_size,
        "seconds": time.process_time() - started,
        "peak_bytes": _peak() - before,
    }


def _peak() -> int:
    """Return the peak of this process's resident memory in bytes, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--source", type=Path, default=HERE, help="folder that holds the package")
    parser.add_argument("--label", default="", help="begins the keys of the cells")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    add_out(parser, "tables")
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(measure(given.inside[0], Path(given.inside[1]))))
        return
    cells = Cells(given.out)
    keys = {f"{given.label}-{c}" if given.label else c: c for c in given.cases or CASES}
    with tempfile.TemporaryDirectory() as folder:
        if any(key not in cells for key in keys):
            write_tables(Path(folder))
        for key, case in keys.items():
            if key not in cells:
                command = [sys.executable, "-m", "benchmarks.tables", "--inside", case, folder]
                paths = os.pathsep.join([str(given.source.resolve()), str(HERE.parent)])
                alone = {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
                done = subprocess.run(
                    command, env=os.environ | alone, capture_output=True, check=True
                )
                cells.write(key, json.loads(done.stdout.splitlines()[-1]))
            cell = cells.read(key)
            print(
                f"{key}: {cell['seconds']:.1f} s, {cell['peak_bytes'] / 1e6:.0f} MB more, for "
                f"{cell['bytes'] / 1e6:.0f} MB"
            )


if __name__ == "__main__":
    main()
