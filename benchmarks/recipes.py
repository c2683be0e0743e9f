"""What do the shipped recipes end in, and how long do they take?

A cell is a recipe, run in a process of its own until it has a verdict:

    SAFECOMPRESS_DATA=/path/to/data MINILM=/path/to/folder python -m benchmarks.recipes [RECIPE …]

It holds the verdict, accuracy and every attack's AUC of the dense and of the compressed model on
the sealed rows, sizes, and processor seconds, which a busy machine disturbs less than it does the
clock. Runs are kept in `--work`; one that was interrupted goes on where it stopped. With `--set` a
recipe is run in a shorter form, and the cell says so. Without names, all recipes whose environment
variables are set and that have no cell. `--table` prints the rows of the tables in the documents.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Cells, add_out
from benchmarks.reproduce import COMMAND, RECIPES, unset_variables
from safecompress import export
from safecompress.files import make_folder, read_json, write_json
from safecompress.run.folder import PROVENANCE, VERDICT
from safecompress.verdict_names import COMPRESSED, DENSE
from safecompress.verdicts.document import CompressVerdict
from safecompress.verdicts.parts import ComparedModel, aucs_of

FORMAT = "safetensors-int8"
"""The format whose bytes are a cell's size: any model has it, and it needs no runtime."""
MADE_WITH = ("commit", "clean_tree", "created", "python", "torch", "cpu", "instructions", "threads")
HEADER = (
    "| recipe | members | dense: accuracy / AUC | compressed: accuracy / AUC | density | MB "
    "| verdict | minutes |"
)
SHORT = "| recipe | dense: accuracy / AUC | compressed: accuracy / AUC | verdict |"


def run(recipe: Path, folder: Path, assignments: Sequence[str]) -> dict[str, float | None]:
    """Run a recipe to its verdict, or go on with its run, and return what it took so far.

    Args:
        recipe: the configuration.
        folder: the run folder; a file beside it adds up the seconds of all attempts.
        assignments: settings that replace the recipe's, as `KEY=VALUE`.

    Returns:
        Seconds of processor time and bytes of memory at the peak; None where they are not known
        because the run was begun otherwise.

    Raises:
        RuntimeError: when the run does not end in a verdict.
    """
    record = folder.with_name(f"{folder.name}.cost.json")
    begun = (folder / PROVENANCE).is_file()
    spent: dict[str, Any] = {"processor_seconds": None if begun else 0.0, "peak_bytes": 0}
    if record.is_file():
        spent = read_json(record)
    if not (folder / VERDICT).is_file():
        changes = [word for assignment in assignments for word in ("--set", assignment)]
        command = ["compress", str(recipe), "--out", str(folder), *changes]
        if begun:
            command = ["compress", "--resume", str(folder), "--trust-code"]
        try:
            subprocess.run([sys.executable, "-c", COMMAND, *command], check=False)
        finally:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            if spent["processor_seconds"] is not None:
                spent["processor_seconds"] += used.ru_utime + used.ru_stime
            spent["peak_bytes"] = max(spent["peak_bytes"], 1024 * used.ru_maxrss)
            make_folder(record.parent)
            write_json(record, spent)
    if not (folder / VERDICT).is_file():
        raise RuntimeError(f"{recipe.name}: the run ended without a verdict; see {folder}.")
    return spent


def cell_of(
    recipe: Path, folder: Path, assignments: Sequence[str], *, workers: int | None = None
) -> dict[str, Any]:
    """Run a recipe and return its cell.

    Args:
        recipe: the configuration.
        folder: the run folder, new or of an interrupted run.
        assignments: settings that replace the recipe's, as `KEY=VALUE`.
        workers: processes that train shadow models at once, which changes no figure; None takes the
            recipe's.
    """
    started = time.perf_counter()
    several = [] if workers is None else [f"shadows.workers={workers}"]
    spent = run(recipe, folder, [*assignments, *several])
    wall = time.perf_counter() - started
    verdict = CompressVerdict.from_json(read_json(folder / VERDICT))
    made_with = read_json(folder / PROVENANCE)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "small.safetensors"
        export(folder, file, format=FORMAT, allow_failed=True, trust_code=True)
        size = file.stat().st_size if file.exists() else None
    model = verdict.model
    return {
        "recipe": recipe.name,
        "set": list(assignments),
        "rows": made_with["data"]["sizes"],
        "verdict": verdict.verdict.value,
        "sentence": verdict.sentence,
        "scope": verdict.scope,
        "density": model.density,
        "parameters": model.parameters,
        "maskable": model.maskable,
        "nonzeros": model.nonzeros,
        "lineage": list(model.lineage),
        "bytes": {"dense fp32": 4 * model.parameters, FORMAT: size},
        "models": {row.name: _figures(row) for row in verdict.comparison},
        "wall_seconds": wall,
        "stage_seconds": made_with["seconds"],
        **spent,
        "made_with": {key: made_with.get(key) for key in MADE_WITH},
    }


def _figures(row: ComparedModel) -> dict[str, Any]:
    strongest = row.strongest()
    return {
        "accuracy": None if row.accuracy is None else row.accuracy.to_json(),
        "strongest": None if strongest is None else strongest[0],
        "aucs": {name: span.to_json() for name, span in aucs_of(row.attacks).items()},
    }


def table_row(key: str, cell: Cell) -> str:
    """Return a recipe's row of the documents' tables, as Markdown under `HEADER`.

    Args:
        key: of the cell.
        cell: a finished one.
    """
    models, size = cell["models"], cell["bytes"]
    entries = [
        f"[`{key}`](../recipes/{cell['recipe']})" + (" (shortened)" if cell["set"] else ""),
        f"{cell['rows']['members']:,}",
        _shown(models[DENSE]),
        _shown(models[COMPRESSED]),
        f"{cell['density']:.2g}",
        f"{size['dense fp32'] / 1e6:.1f} → "
        + ("–" if size[FORMAT] is None else f"{size[FORMAT] / 1e6:.1f}"),
        cell["verdict"],
        _minutes(cell),
    ]
    return f"| {' | '.join(entries)} |"


def short_row(key: str, cell: Cell) -> str:
    """Return a recipe's row of the README's table, as Markdown under `SHORT`.

    Args:
        key: of the cell.
        cell: a finished one.
    """
    dense, small = (_shown(cell["models"][name]).split(" [")[0] for name in (DENSE, COMPRESSED))
    return f"| [`{key}`](recipes/{cell['recipe']}) | {dense} | {small} | {cell['verdict']} |"


def _minutes(cell: Cell) -> str:
    """Return processor minutes; of a run that was begun otherwise, those of the clock."""
    if cell["processor_seconds"] is not None:
        return f"{cell['processor_seconds'] / 60:.0f}"
    return f"{sum(cell['stage_seconds'].values()) / 60:.0f} (clock)"


def _shown(model: Cell) -> str:
    """Return accuracy in percent and the strongest attack's AUC with its interval and name."""
    auc = model["aucs"][model["strongest"]]
    low, value, high = (f"{auc[part]:.3f}".removeprefix("0") for part in ("low", "value", "high"))
    accuracy = 100 * model["accuracy"]["value"]
    return f"{accuracy:.1f} % / {value} [{low}, {high}] ({model['strongest']})"


def main() -> None:
    """Run the recipes that have no cell yet and say what they ended in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="*", help="names of recipes, such as ag-news-bert-tiny")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, help="processes that train shadow models at once")
    parser.add_argument("--work", type=Path, help="folder of the run folders; default: runs in OUT")
    parser.add_argument("--table", action="store_true", help="print the tables' rows and end")
    add_out(parser, "recipes")
    options = parser.parse_args()
    cells = Cells(options.out)
    work = options.work or cells.folder / "runs"
    for recipe in () if options.table else sorted(RECIPES.glob("*.yaml")):
        if recipe.stem not in cells and recipe.stem in (options.recipe or [recipe.stem]):
            if unset := unset_variables(recipe):
                print(f"{recipe.stem}: left out, for {', '.join(unset)} is not set")
                continue
            cell = cell_of(recipe, work / recipe.stem, options.set, workers=options.workers)
            cells.write(recipe.stem, cell)
    print(HEADER)
    for key, cell in cells.finished().items():
        print(table_row(key, cell), short_row(key, cell), sep="\n")


if __name__ == "__main__":
    main()
