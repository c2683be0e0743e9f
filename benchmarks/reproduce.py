"""Do two fresh runs of a recipe end in the same bits, one of them on a busy machine?

A cell is a recipe. It is run twice, each time in a process of its own; during the second run other
processes compute as well, one for every core unless `--busy` says how many. Digests of all models,
and of history and verdict without the times that they record, must agree; `differ` names the files
that do not.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.reproduce [RECIPE ...] [--set KEY=VALUE]

With `--runs DIR` the run folders stay there, and a run that has ended is not made again; one that
was stopped begins anew. So recipes of an hour are made one by one, or two beside each other, each
with one thread and `--busy 1`.

Without recipes, all that lie in `recipes` and whose environment variables are set: those of
pretrained text models name a model's folder. On two cores a quiet run of Location30's takes two
minutes, and the busy one three times as long.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.cells import Cells, add_out
from safecompress.files import read_json, write_json
from safecompress.run.folder import HISTORY, PROVENANCE, STATE, VERDICT

RECIPES = Path(__file__).parents[1] / "recipes"
TIMES = frozenset({"seconds", "created", "started"})
"""Keys of a document that hold times."""
COMMAND = "from safecompress_command import main; main()"
"""What starts the command line in a process of its own, wherever it is installed."""
BUSY = "import numpy as np\nx = np.ones((300, 300))\nwhile True: x = x @ x / 300"
"""What a busy process runs."""


def digests(folder: Path) -> dict[str, str]:
    """Return SHA-256 of everything that a finished run computed, by file.

    Args:
        folder: the run folder. Checkpoints are left out, because how many there are depends on how
            long the run took, and so is what a document says of time.
    """
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
        if STATE not in path.parts
    }
    lines = (folder / HISTORY).read_text(encoding="utf-8").splitlines()
    documents = {
        HISTORY: [json.loads(line) for line in lines],
        VERDICT: read_json(folder / VERDICT),
    }
    for name, document in documents.items():
        text = json.dumps(_without_times(document), sort_keys=True)
        found[name] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run a block while other processes compute.

    Args:
        processes: how many.
    """
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def unset_variables(recipe: Path) -> list[str]:
    """Return the environment variables that a recipe names and that are not set.

    Args:
        recipe: the configuration.
    """
    named = re.findall(r"\$\{(\w+)\}", recipe.read_text(encoding="utf-8"))
    return sorted(set(named) - os.environ.keys())


def run(recipe: Path, out: Path, assignments: Sequence[str]) -> float:
    """Run a recipe in a process of its own and return its seconds.

    Args:
        recipe: the configuration.
        out: the run folder to make.
        assignments: settings that replace the recipe's, as `KEY=VALUE`.

    Raises:
        RuntimeError: when the run does not end in a verdict.
    """
    changes = [word for assignment in assignments for word in ("--set", assignment)]
    command = ["compress", str(recipe), "--out", str(out), *changes]
    started = time.perf_counter()
    code = subprocess.run([sys.executable, "-c", COMMAND, *command], check=False).returncode
    # The code is that of the verdict, so only the file says that there is one.
    if not (out / VERDICT).is_file():
        raise RuntimeError(f"{recipe.name}: the run ended with code {code} and no verdict.")
    return time.perf_counter() - started


def ended(recipe: Path, out: Path, assignments: Sequence[str], processes: int) -> dict[str, Any]:
    """Run a recipe, unless its folder holds a verdict, and return what was seen of the run.

    Args:
        recipe: the configuration.
        out: the run folder; what a stopped run left there is removed.
        assignments: settings that replace the recipe's, as `KEY=VALUE`.
        processes: how many other processes compute meanwhile.
    """
    seen = out.with_suffix(".json")
    if not ((out / VERDICT).is_file() and seen.is_file()):
        shutil.rmtree(out, ignore_errors=True)
        with busy(processes) if processes else nullcontext():
            seconds = run(recipe, out, assignments)
            # The load of the last quarter of an hour counts what others computed as well.
            write_json(seen, {"seconds": seconds, "load": os.getloadavg()[2]})
    return dict(read_json(seen))


def cell_of(recipe: Path, runs: Path, assignments: Sequence[str], processes: int) -> dict[str, Any]:
    """Run a recipe twice and return its cell.

    Args:
        recipe: the configuration.
        runs: folder of the two run folders.
        assignments: settings that replace the recipe's, as `KEY=VALUE`.
        processes: how many other processes compute during the second run.
    """
    folders = {runs / "quiet": 0, runs / "loaded": processes}
    seen = [ended(recipe, out, assignments, count) for out, count in folders.items()]
    first, again = map(digests, folders)
    made_with = read_json(runs / "quiet" / PROVENANCE)
    return {
        "recipe": str(recipe.relative_to(RECIPES)),
        "set": list(assignments),
        "differ": sorted(name for name in first | again if first.get(name) != again.get(name)),
        "digests": first,
        "seconds": [one["seconds"] for one in seen],
        "load": [one["load"] for one in seen],
        "busy_processes": processes,
        "precision": {k: made_with.get(k) for k in ("dense_precision", "precision")},
    }


def main() -> None:
    """Run the recipes that have no cell yet and say which ended in the same bits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="*", help="names of recipes, such as location30")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--runs", type=Path, help="keep the run folders here")
    add_out(parser, "reproduce")
    options = parser.parse_args()
    cells = Cells(options.out)
    for recipe in sorted(RECIPES.glob("*.yaml")):
        if recipe.stem not in cells and recipe.stem in (options.recipe or [recipe.stem]):
            if unset := unset_variables(recipe):
                print(f"{recipe.stem}: left out, for {', '.join(unset)} is not set")
                continue
            with tempfile.TemporaryDirectory() as scratch:
                runs = (options.runs or Path(scratch)) / recipe.stem
                runs.mkdir(parents=True, exist_ok=True)
                cells.write(recipe.stem, cell_of(recipe, runs, options.set, options.busy))
    for key, cell in cells.finished().items():
        minutes = " and ".join(f"{seconds / 60:.1f}" for seconds in cell["seconds"])
        says = f"differs in {', '.join(cell['differ'])}" if cell["differ"] else "the same bits"
        print(f"{key}: {says} ({minutes} minutes{', shortened' if cell['set'] else ''})")


if __name__ == "__main__":
    main()
