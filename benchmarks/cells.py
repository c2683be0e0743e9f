"""`Cells`: the finished cells of a benchmark, in working files and in one committed file of lines.

A cell is the smallest piece of a benchmark that is made as a whole: one target, one model, one
method with one seed. It is made once, and found again by its key. The cells of `gate` lie in

- `benchmarks/results/gate/cells/KEY.json`, one working file a cell, as it was made; git ignores the
  folder, which may hold more that a benchmark needs to go on where it stopped;
- `benchmarks/results/gate.jsonl`, which is committed. Its first line is a header with the name of
  the benchmark and the command that makes it; then comes a line a cell, sorted by key:
  `{"key": KEY, "cell": {…}}`, names sorted, floats to eight significant digits.

`python -m benchmarks.collect gate` folds the first into the second. A benchmark finds a cell in
either place. To make a cell anew, delete its line and its working file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from safecompress.errors import DataError
from safecompress.files import make_folder, read_json, write_json
from safecompress.run.provenance import surroundings

RESULTS = Path(__file__).parent / "results"
DIGITS = 8
"""Significant digits of a committed float: the fewest at which every table of the stored cells
reads as it does with all digits."""
EXACT = frozenset({"recipe", "setting"})
"""Entries that hold the settings of a cell. They are compared when the cell is read again, so they
keep every digit."""

Cell = Mapping[str, Any]


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option `--out`, for `Cells` in another folder than the benchmark's own.

    Args:
        parser: of the benchmark's command line.
        name: of the benchmark.
    """
    where = "folder of working files; the committed lines are beside it, in FOLDER.jsonl"
    parser.add_argument("--out", type=Path, default=RESULTS / name, metavar="FOLDER", help=where)


class Cells:
    """The finished cells of one benchmark.

    Args:
        folder: for working files, in `cells`; committed lines are beside it, in a file of its name
            that ends in `.jsonl`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.committed = folder.parent / f"{folder.name}.jsonl"

    @classmethod
    def of(cls, name: str) -> Cells:
        """Return the cells of a benchmark where they are by default.

        Args:
            name: of the benchmark.
        """
        return cls(RESULTS / name)

    def path(self, key: str) -> Path:
        """Return the working file of a cell.

        Args:
            key: names the cell.
        """
        return self.folder / "cells" / f"{key}.json"

    def __contains__(self, key: str) -> bool:
        """Return whether a cell is finished."""
        return self.path(key).exists() or key in self._lines

    def keys(self, pattern: str = "*") -> list[str]:
        """Return the keys of finished cells, sorted.

        Args:
            pattern: as of a shell, such as `location30-*`.
        """
        working = {path.stem for path in (self.folder / "cells").glob("*.json")}
        return sorted(key for key in working | self._lines.keys() if fnmatchcase(key, pattern))

    def read(self, key: str) -> Cell:
        """Return a finished cell: its working file where there is one, else its line.

        Args:
            key: names the cell.

        Raises:
            DataError: when there is neither, or the file is damaged.
        """
        path = self.path(key)
        if key in self._lines and not path.exists():
            return self._lines[key]
        cell: Cell = read_json(path)
        return cell

    def finished(self, pattern: str = "*") -> dict[str, Cell]:
        """Return finished cells by key, sorted.

        Args:
            pattern: of keys, as of a shell.
        """
        return {key: self.read(key) for key in self.keys(pattern)}

    def write(self, key: str, cell: Cell) -> None:
        """Write the working file of a cell, with the code and the machine that made it.

        Args:
            key: names the cell.
            cell: JSON; `provenance` is added.
        """
        make_folder(self.folder / "cells")
        write_json(self.path(key), {**cell, "provenance": surroundings()})

    def unpack(self) -> None:
        """Write a working file for every line that has none, for what reads working files alone."""
        make_folder(self.folder / "cells")
        for key, cell in self._lines.items():
            if not self.path(key).exists():
                write_json(self.path(key), cell)

    @cached_property
    def _lines(self) -> dict[str, Cell]:
        return read_lines(self.committed) if self.committed.exists() else {}


def read_lines(path: Path) -> dict[str, Cell]:
    """Return the cells of a committed file by key.

    Args:
        path: a file as `written` makes it.

    Raises:
        DataError: naming the line that is damaged or has the key of another.
    """
    found: dict[str, Cell] = {}
    # JSON escapes the newline and none of the other characters at which `splitlines` parts lines.
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for number, text in enumerate(lines[1:], start=2):
        try:
            line = json.loads(text)
            key, cell = line["key"], line["cell"]
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a cell ({error}).") from error
        if key in found:
            raise DataError(f"{path}, line {number}: a second cell '{key}'; delete one of them.")
        found[key] = cell
    return found


def written(header: Mapping[str, str], cells: Mapping[str, Cell]) -> str:
    """Return the text of a committed file: the same for the same cells, in whatever order.

    Args:
        header: what the first line says.
        cells: by key.
    """
    lines = [json.dumps(header, ensure_ascii=False)]
    for key in sorted(cells):
        cell = json.dumps(
            rounded(cells[key]),
            sort_keys=True,
            allow_nan=False,
            ensure_ascii=False,
            separators=(",", ":"),
        )
        lines.append(f'{{"key":{json.dumps(key, ensure_ascii=False)},"cell":{cell}}}')
    return "\n".join(lines) + "\n"


def rounded(value: Any) -> Any:
    """Return JSON with its floats at `DIGITS` significant digits, but for what is in `EXACT`.

    Args:
        value: anything that JSON holds.
    """
    if isinstance(value, Mapping):
        return {name: v if name in EXACT else rounded(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
