"""Do two fresh runs of a recipe end in the same bits, one of them on a busy machine?

A cell is a recipe. It is run twice, each time in a process of its own; during the second run other
processes keep every core busy. Digests of all models, and of history and verdict without the times
that they record, must agree; `differ` names the files that do not.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.reproduce [RECIPE ...] [--set KEY=VALUE]

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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cells import Cells, add_out
from safecompress.files import read_json
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


def cell_of(recipe: Path, assignments: Sequence[str]) -> dict[str, Any]:
    """Run a recipe twice and return its cell.

    Args:
        recipe: the configuration.
        assignments: settings that replace the recipe's, as `KEY=VALUE`.
    """
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        quiet, loaded = Path(scratch) / "quiet", Path(scratch) / "loaded"
        seconds = [run(recipe, quiet, assignments)]
        with busy(cores):
            seconds.append(run(recipe, loaded, assignments))
        first, again = digests(quiet), digests(loaded)
        made_with = read_json(quiet / PROVENANCE)
    return {
        "recipe": str(recipe.relative_to(RECIPES)),
        "set": list(assignments),
        "differ": sorted(name for name in first | again if first.get(name) != again.get(name)),
        "digests": first,
        "seconds": seconds,
        "busy_processes": cores,
        "precision": {k: made_with.get(k) for k in ("dense_precision", "precision")},
    }


def main() -> None:
    """Run the recipes that have no cell yet and say which ended in the same bits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="*", help="names of recipes, such as location30")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    add_out(parser, "reproduce")
    options = parser.parse_args()
    cells = Cells(options.out)
    for recipe in sorted(RECIPES.glob("*.yaml")):
        if recipe.stem not in cells and recipe.stem in (options.recipe or [recipe.stem]):
            if unset := unset_variables(recipe):
                print(f"{recipe.stem}: left out, for {', '.join(unset)} is not set")
                continue
            cells.write(recipe.stem, cell_of(recipe, options.set))
    for key, cell in cells.finished().items():
        minutes = " and ".join(f"{seconds / 60:.1f}" for seconds in cell["seconds"])
        says = f"differs in {', '.join(cell['differ'])}" if cell["differ"] else "the same bits"
        print(f"{key}: {says} ({minutes} minutes{', shortened' if cell['set'] else ''})")


if __name__ == "__main__":
    main()
