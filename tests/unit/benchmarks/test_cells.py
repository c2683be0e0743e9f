"""Finished cells: found in working files and in committed lines, and folded into the latter."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import attacker_strength, collect
from benchmarks import cells as cells_module
from benchmarks.cells import DIGITS, EXACT, RESULTS, Cells, read_lines, rounded, written
from hypothesis import given
from hypothesis import strategies as st

from safecompress.errors import DataError
from safecompress.run.provenance import surroundings
from tests.documents import ROOT

HEADER = {"benchmark": "some", "command": "make bench"}
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans()
JSON = st.recursive(
    NUMBERS | st.none() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(sorted(EXACT)), inner, max_size=3)
    ),
    max_leaves=10,
)
CELLS = st.dictionaries(st.text(), st.dictionaries(st.text(), JSON, max_size=3), max_size=4)


def committed(folder: Path, cells: dict[str, Any]) -> Cells:
    """Return cells that are lines beside a folder that does not exist."""
    found = Cells(folder / "some")
    found.committed.write_text(written(HEADER, cells))
    return found


@given(cells=CELLS)
def test_lines_hold_what_was_written_but_for_digits(
    cells: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cells") / "some.jsonl"
    path.write_text(written(HEADER, cells), encoding="utf-8")
    assert read_lines(path) == {key: rounded(cell) for key, cell in cells.items()}
    assert path.read_text(encoding="utf-8") == written(HEADER, read_lines(path))


@given(cells=CELLS, shuffled=st.randoms(use_true_random=False))
def test_the_file_depends_on_the_cells_alone(cells: dict[str, Any], shuffled: Any) -> None:
    def mixed(value: Any) -> Any:
        if isinstance(value, dict):
            names = list(value)
            shuffled.shuffle(names)
            return {name: mixed(value[name]) for name in names}
        return [mixed(v) for v in value] if isinstance(value, list) else value

    assert written(HEADER, mixed(cells)) == written(HEADER, cells)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_its_first_digits(value: float) -> None:
    (kept,) = rounded([value])
    assert abs(kept - value) <= abs(value) * 10.0 ** (1 - DIGITS)
    assert rounded(kept) == kept
    assert all(rounded({name: [value]}) == {name: [value]} for name in EXACT)


def test_a_cell_is_found_in_a_working_file_and_in_a_line(tmp_path: Path) -> None:
    cells = committed(tmp_path, {"b": {"n": 1}, "c": {"n": 2}})
    cells.write("a x", {"n": 3})
    cells.write("c", {"n": 4})
    assert [key in cells for key in ("a x", "b", "c", "d")] == [True, True, True, False]
    assert {key: cell["n"] for key, cell in cells.finished().items()} == {"a x": 3, "b": 1, "c": 4}
    assert cells.keys("a*") == ["a x"]
    with pytest.raises(DataError, match=r"d\.json: no such file"):
        cells.read("d")


def test_a_new_cell_says_what_made_it(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "some")
    cells.write("a", {"n": 1})
    made_with = cells.read("a")["provenance"]
    now = surroundings()
    assert made_with | {"created": None} == now | {"created": None}


def test_unpacking_adds_nothing_and_replaces_nothing(tmp_path: Path) -> None:
    cells = committed(tmp_path, {"a": {"n": 1}, "b": {"n": 2}})
    cells.write("b", {"n": 3})
    cells.unpack()
    assert json.loads(cells.path("a").read_text()) == {"n": 1}
    assert cells.read("b")["n"] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<<<<<<< HEAD", "line 3: not a cell"),
        ('{"key": "b"}', "line 3: not a cell"),
        ("[]", "line 3: not a cell"),
        ('{"key": "a", "cell": {}}', "line 3: a second cell 'a'"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    cells = committed(tmp_path, {"a": {}})
    cells.committed.write_text(cells.committed.read_text() + text + "\n")
    with pytest.raises(DataError, match=says):
        cells.keys()


@pytest.mark.parametrize("place", ["lines", "working files"])
def test_a_benchmark_makes_what_is_missing_and_nothing_else(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {
        key: cell
        for key, cell in Cells.of("attacker_strength").finished().items()
        if key.endswith(("seed0", "seed1")) and key != "dense-seed1"
    }
    cells = Cells(tmp_path / "some")
    if place == "lines":
        cells = committed(tmp_path, stored)
    else:
        for key, cell in stored.items():
            cells.write(key, cell)
    made = []

    def run_cell(data: Path, subject: str, density: float | None, seed: int) -> dict[str, Any]:
        made.append((subject, seed))
        return dict(stored["dense-seed0"]) | {"seed": seed}

    monkeypatch.setattr(attacker_strength, "run_cell", run_cell)
    command = ["x", "--data", "nowhere", "--seeds", "0", "1", "--out", str(cells.folder)]
    monkeypatch.setattr(sys, "argv", command)
    attacker_strength.main()
    attacker_strength.main()
    assert made == [("dense", 1)]
    assert Cells(cells.folder).keys() == sorted({*stored, "dense-seed1"})


def test_collecting_folds_working_files_into_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cells_module, "RESULTS", tmp_path)
    dirty = {"provenance": surroundings() | {"clean_tree": False}}
    (tmp_path / "gate.jsonl").write_text(written(HEADER, {"a": {"n": 1 / 3}, "c": {"n": 1}}))
    (tmp_path / "gate" / "cells").mkdir(parents=True)
    for key, cell in (("b", dirty), ("c", {"n": 2 / 3})):
        (tmp_path / "gate" / "cells" / f"{key}.json").write_text(json.dumps(cell))
    monkeypatch.setattr(sys, "argv", ["collect"])
    collect.main()
    text = (tmp_path / "gate.jsonl").read_text()
    said = capsys.readouterr().out
    assert said.startswith("gate: 3 cells, 2 of them new or changed\n")
    assert said.endswith("no commit holds: b\n")
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0] == {"benchmark": "gate", "command": collect.COMMANDS["gate"]}
    assert [line["key"] for line in lines[1:]] == ["a", "b", "c"]
    assert lines[3]["cell"] == {"n": 0.66666667}
    collect.main()
    assert (tmp_path / "gate.jsonl").read_text() == text


@pytest.mark.parametrize("name", sorted(collect.COMMANDS.keys() - collect.UNMADE))
def test_a_committed_file_is_as_it_would_be_collected(name: str) -> None:
    path = Cells.of(name).committed
    header = {"benchmark": name, "command": collect.COMMANDS[name]}
    cells = read_lines(path)
    assert cells
    assert path.read_text(encoding="utf-8") == written(header, cells)


@pytest.mark.parametrize("name", sorted(collect.COMPARISONS.keys() - collect.UNMADE))
def test_a_committed_table_is_that_of_the_committed_cells(name: str) -> None:
    path = Cells.of(name).committed.with_suffix(".md")
    assert path.read_text(encoding="utf-8") == collect.table_of(name)


def test_committed_files_are_those_of_the_commands_and_small_and_name_no_machine() -> None:
    files = [path for path in RESULTS.iterdir() if path.is_file()]
    assert collect.COMMANDS.keys() >= collect.UNMADE
    made = collect.COMMANDS.keys() - collect.UNMADE
    assert {p.stem for p in files if p.suffix == ".jsonl"} == made
    assert {p.stem for p in files if p.suffix == ".md"} == made & collect.COMPARISONS.keys()
    assert {p.suffix for p in files} == {".jsonl", ".md"}
    assert sum(path.stat().st_size for path in files) < 6e6
    for path in files:
        assert not re.search(r"/(home|Users|tmp|work|root)/|[A-Z]:\\\\", path.read_text("utf-8"))


def test_every_benchmark_that_makes_cells_has_its_command_and_runs_by_it() -> None:
    named = set(re.findall(r"python -m benchmarks\.(\w+)", " ".join(collect.COMMANDS.values())))
    makers = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if re.search(r"^if __name__ == ", text := path.read_text(), re.MULTILINE)
        and re.search(r"\.write\(|(make|ask_for)_cells\(", text)
    }
    assert named == makers
    assert all(hasattr(importlib.import_module(f"benchmarks.{name}"), "main") for name in named)


def test_working_files_are_ignored_and_lines_are_not() -> None:
    asked = ["benchmarks/results/gate/cells/a.json", "benchmarks/results/gate.jsonl"]
    command = ["git", "-C", str(ROOT), "check-ignore", "--no-index", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 128:
        pytest.skip("not a checkout")
    assert done.stdout.splitlines() == asked[:1]
