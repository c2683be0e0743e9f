"""Fold finished cells into the committed results, and write the tables that documents link to.

    python -m benchmarks.collect [NAME ...]

Without names, all benchmarks that have working files. The result depends on the cells alone: run
again, it changes nothing. Working files stay where they are. `cells.py` says what the files hold.
"""

from __future__ import annotations

import argparse

from benchmarks.cells import Cell, Cells, read_lines, written
from benchmarks.table import tabulated
from safecompress.files import write_text
from safecompress.report import table_markdown

_DATA = "SAFECOMPRESS_DATA=/path/to/data"
_ONE = "OMP_NUM_THREADS=1"
_SEED = "python -m benchmarks.table --seed 500 --models 8 --density 0.05"
_AGAIN = "--method safecompress student soft-labels snip --data location30 banking77 synthetic"

COMMANDS: dict[str, str] = {
    "arithmetic": f"{_ONE} python -m benchmarks.arithmetic",
    "artifact": f"{_ONE} python -m benchmarks.artifact --kind KIND",
    "attacker_strength": f"{_DATA} python -m benchmarks.attacker_strength",
    "attacks": f"{_DATA} python -m benchmarks.attacks location30 banking77 cifar100-alexnet",
    "audit_speed": f"{_DATA} python -m benchmarks.audit_speed --peer PEER --python ITS_PYTHON "
    "--checkout ITS_REPOSITORY --parts scoring whole",
    "blind_spots": f"{_DATA} python -m benchmarks.blind_spots",
    "calibrate": "make calibrate",
    "cost": f"{_DATA} {_ONE} python -m benchmarks.cost",
    "export_verdicts": f"{_DATA} python -m benchmarks.export_verdicts",
    "cluster": "python -m benchmarks.cluster",
    "fuzz": f"{_ONE} python -m benchmarks.fuzz",
    "gate": f"{_DATA} python -m benchmarks.gate",
    "int8_latency": f"{_ONE} python -m benchmarks.int8_latency --model resnet18",
    "moves": f"{_DATA} python -m benchmarks.moves",
    "joint_sets": f"{_DATA} MINILM=/path/to/folder python -m benchmarks.joint_sets "
    "--encoder /path/to/model.onnx",
    "random_files": f"{_ONE} SAFECOMPRESS_CALIBRATE=1 python -m benchmarks.random_files",
    "recipes": f"{_DATA} MINILM=/path/to/folder python -m benchmarks.recipes",
    "reproduce": f"{_DATA} python -m benchmarks.reproduce",
    "selection": f"{_DATA} python -m benchmarks.selection DATA --seeds SEEDS --methods METHODS",
    "memory": f"{_ONE} python -m benchmarks.memory",
    "soak": "python -m benchmarks.soak",
    "students": f"{_DATA} python -m benchmarks.students",
    "tables": f"{_ONE} python -m benchmarks.tables",
    "table": f"{_DATA} python -m benchmarks.table",
    "table-seed500": f"{_DATA} {_SEED} {_AGAIN} --out benchmarks/results/table-seed500",
    "trained_files": f"{_DATA} {_ONE} python -m benchmarks.trained_files",
    "training": f"{_DATA} {_ONE} python -m benchmarks.training",
    "transfer": f"{_DATA} python -m benchmarks.transfer run --seeds SEEDS",
    "transfer-adaptive": f"{_DATA} python -m benchmarks.transfer run --seeds SEEDS "
    "--out benchmarks/results/transfer-adaptive",
}
"""The command that makes the cells of each committed file; capitals are placeholders."""
COMPARISONS: dict[str, str | None] = {
    "moves": "student",
    "students": None,
    "table": "safecompress",
    "table-seed500": "safecompress",
}
"""Benchmarks whose cells are those of `safecompress compare`, with the method that others are
tested against. Their tables are committed as Markdown."""
UNMADE = frozenset({"moves", "transfer-adaptive"})
"""Benchmarks without any cell so far; no figure of a document rests on them."""


def collect(name: str) -> None:
    """Write a benchmark's committed files and say what changed.

    Args:
        name: of the benchmark, a key of `COMMANDS`.
    """
    cells = Cells.of(name)
    finished = cells.finished()
    before = cells.committed.read_text(encoding="utf-8") if cells.committed.exists() else ""
    after = written({"benchmark": name, "command": COMMANDS[name]}, finished)
    write_text(cells.committed, after)
    changed = set(after.split("\n")[1:]) - set(before.split("\n"))
    print(f"{name}: {len(finished)} cells, {len(changed)} of them new or changed")
    unclean = [key for key, cell in finished.items() if _unclean(cell)]
    if unclean:
        print(f"  made by code that no commit holds: {', '.join(unclean)}")
    if name in COMPARISONS:
        write_text(cells.committed.with_suffix(".md"), table_of(name))


def _unclean(cell: Cell) -> bool:
    """Return whether a cell was made from a tree with uncommitted changes."""
    made_with = cell.get("provenance", cell.get("made_with", {}))
    return made_with.get("clean_tree") is False


def table_of(name: str) -> str:
    """Return the table of a benchmark's committed cells, as Markdown.

    Args:
        name: of the benchmark, a key of `COMPARISONS`.
    """
    lines = read_lines(Cells.of(name).committed)
    return table_markdown(tabulated(lines, reference=COMPARISONS[name]).to_json())


def main() -> None:
    """Collect the benchmarks asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", choices=[*COMMANDS, []], metavar="NAME")
    asked = parser.parse_args().name
    for name in asked or [name for name in COMMANDS if Cells.of(name).folder.is_dir()]:
        collect(name)


if __name__ == "__main__":
    main()
