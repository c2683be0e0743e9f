"""Does every file end in what it says or in an error of the package, in a second and a gigabyte?

    OMP_NUM_THREADS=1 python -m benchmarks.fuzz [FORMAT ...] [--count 20000]

A cell is a format: how many files were changed at random (`tests/mutations.py`), how many of them
were read and refused, the longest time in seconds of computing and the most memory that one took,
and the faults: another error, a crash, more than a second or a gigabyte, code of a file that ran.
The law in `tests/laws/test_fuzz_laws.py` tries the first few of the same files.
"""

from __future__ import annotations

import argparse
import time

from tests.fuzz_formats import FORMATS
from tests.fuzzing import driven

from benchmarks.cells import Cells, add_out


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formats", nargs="*", choices=[*FORMATS, []], metavar="FORMAT")
    parser.add_argument("--count", type=int, default=20_000)
    add_out(parser, "fuzz")
    given = parser.parse_args()
    cells = Cells(given.out)
    for name in given.formats or FORMATS:
        if name not in cells:
            started = time.perf_counter()
            cell = driven(name, given.count)
            cells.write(name, {**cell, "seconds": round(time.perf_counter() - started, 1)})
        cell = cells.read(name)
        print(
            f"{name}: {cell['tried']} tried, {cell['read']} read, {len(cell['faults'])} faults; at "
            f"most {cell['slowest_seconds']:.2f} s and {cell['largest_bytes'] / 1e6:.0f} MB",
            *cell["faults"],
            flush=True,
        )


if __name__ == "__main__":
    main()
