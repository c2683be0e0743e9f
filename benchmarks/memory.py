"""How much memory does a run hold at its peak, in copies of its weights and of its rows?

    python -m benchmarks.memory [CASE ...] [--source FOLDER --label NAME]

A cell is one run of a perceptron of 17 million weights (64-4096-4096-10, 68 MB in fp32) on the
digits of scikit-learn, one round, in a process of its own on one thread: the peak of resident
memory over that after the imports, in copies of the weights; the same of the files of the run
folder, and of `state/` alone, when the run has ended. `--source` runs another checkout's package,
`--label` names its cells apart.

The cases `rows-…` ask the same of rows: a table of 40 fp32 columns in a `.npy` (160 MB a million
rows), of which half are members, is read into memory or mapped, and trains a perceptron of one
hidden layer of 32 for one epoch in each stage. Their peak is all resident memory, with imports and
with pages of mapped files, which the system takes back where it needs them.

What the stored cells say: `before`, candidates of a round were all made before any was trained, and
a checkpoint was copied twice on its way to the disk. A further candidate cost 7.0 copies at the
peak and costs 4.9, of which 3 stay while it waits; the rest is one candidate in training, whose
proposal gets a copy of its parent. `state/` held 2.5 to 10.5 copies after the verdict, now none.
These cells
are older than packed candidates, of which only the existing weights wait.
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
_TRAIN = {"epochs": 1, "lr": 0.01, "batch_size": 128, "precision": "32-true"}
_MOMENTUM = {"update": {"drop": "magnitude", "grow": "momentum"}}
_TWICE = [{"set": {"updates": 2}}, {"rigl": {"updates": 2}}]
CASES: dict[str, list[Any]] = {
    "1-candidate": ["rigl"],
    "3-candidates-and-teachers": ["rigl", "set", {"soft-labels": {"share": 0.5, "mask": "rigl"}}],
    "6-candidates": ["rigl", "set", "keep", _MOMENTUM, *_TWICE],
}


ROWS: dict[str, tuple[int, bool]] = {
    "rows-1m-memory": (1_000_000, False),
    "rows-1m-mapped": (1_000_000, True),
    "rows-5m-mapped": (5_000_000, True),
}
"""Number of rows, and whether their file is mapped, by the name of the case."""
_COLUMNS = 40


def config(proposals: list[Any]) -> dict[str, Any]:
    """Return the configuration of a case.

    Args:
        proposals: of its one round.
    """
    return {
        "data": {"source": {"source": "sklearn", "name": "digits"}},
        "model": {"name": "mlp", "options": {"hidden": [4096, 4096]}},
        "dense": _TRAIN,
        "sparse": {"density": 0.1, "rounds": 1, "train": _TRAIN},
        "steer": {"proposals": proposals, "attacks": ["loss"]},
        "baselines": [],
        "engine": {"accelerator": "cpu", "threads": 1, "checkpoint_seconds": 0},
    }


def main() -> None:
    """Make the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, *ROWS, []], metavar="CASE")
    parser.add_argument("--source", type=Path, default=HERE, help="folder that holds the package")
    parser.add_argument("--label", default="", help="begins the keys of the cells")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    add_out(parser, "memory")
    given = parser.parse_args()
    if given.inside:
        print(json.dumps((measure_rows if given.inside in ROWS else measure)(given.inside)))
        return
    cells = Cells(given.out)
    for case in given.cases or [*CASES, *ROWS]:
        key = f"{given.label}-{case}" if given.label else case
        if key not in cells:
            command = [sys.executable, "-m", "benchmarks.memory", "--inside", case]
            paths = os.pathsep.join([str(given.source.resolve()), str(HERE.parent)])
            alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": paths}
            done = subprocess.run(command, env=os.environ | alone, capture_output=True, check=True)
            cells.write(key, json.loads(done.stdout.splitlines()[-1]))
        cell = cells.read(key)
        if case in ROWS:
            print(f"{key}: peak {cell['peak_bytes'] / 1e9:.2f} GB of {cell['rows']:,} rows")
            continue
        print(
            f"{key}: peak {cell['peak_copies']:.1f}, folder {cell['folder_copies']:.1f}, "
            f"state {cell['state_copies']:.2f} copies of the weights"
        )


def measure(case: str) -> dict[str, Any]:
    """Return the cell of a case, made in this process.

    Args:
        case: name of the case.
    """
    import torch

    from safecompress import compress

    torch.set_num_threads(1)
    started = time.perf_counter()
    base = _peak()
    with tempfile.TemporaryDirectory() as temporary:
        run = compress(config=config(CASES[case]), out=Path(temporary) / "run")
        weights = sum(p.numel() * p.element_size() for p in run.model.parameters())
        history = (run.folder / "history.jsonl").read_text().count("\n")
        return {
            "case": case,
            "candidates": history,
            "weights_bytes": weights,
            "peak_copies": (_peak() - base) / weights,
            "folder_copies": _size(run.folder) / weights,
            "state_copies": _size(run.folder / "state") / weights,
            "seconds": time.perf_counter() - started,
        }


def measure_rows(case: str) -> dict[str, Any]:
    """Return the cell of a case of `ROWS`, made in this process.

    Args:
        case: name of the case.
    """
    import numpy as np
    import torch

    from safecompress import compress, splits_from_arrays
    from safecompress.files import tensors_digest

    torch.set_num_threads(1)
    count, mapped = ROWS[case]
    train = _TRAIN | {"batch_size": 8192}
    settings = config(["rigl"]) | {
        "model": {"name": "mlp", "options": {"hidden": [32]}},
        "dense": train,
        "sparse": {"density": 0.5, "rounds": 1, "train": train},
    }
    del settings["data"]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "x.npy"
        labels = _write_table(path, count)
        before, started = _peak(), time.perf_counter()
        x = np.load(path, mmap_mode="r" if mapped else None)
        splits = splits_from_arrays(x, labels, seed=0)
        split_peak = _peak()
        del x
        run = compress(None, splits, config=settings, out=Path(temporary) / "run")
        return {
            "case": case,
            "rows": count,
            "table_bytes": 4 * count * _COLUMNS,
            "start_bytes": before,
            "split_peak_bytes": split_peak,
            "peak_bytes": _peak(),
            "status": str(run.verdict.status),
            "model": tensors_digest(dict(run.model.state_dict())),
            "seconds": time.perf_counter() - started,
        }


def _write_table(path: Path, count: int) -> Any:
    """Write normal inputs, 100,000 at a time, and return labels that a linear model predicts."""
    import numpy as np

    draw = np.random.default_rng(0)
    weights, labels = draw.normal(size=_COLUMNS), np.empty(count, dtype=np.int64)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, _COLUMNS)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, 100_000):
            size = min(100_000, count - start)
            block = draw.normal(size=(size, _COLUMNS)).astype(np.float32)
            file.write(block.tobytes())
            noise = 3 * draw.normal(size=size)
            labels[start : start + size] = block @ weights + noise > 0
    return labels


def _peak() -> int:
    """Return the peak of this process's resident memory in bytes, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
