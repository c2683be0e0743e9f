"""Do memory, open files and threads stay flat over many runs in one process?

Four kinds of run take turns, 200 in all, each with everything that a user's run does: a plain one;
one with adversarial training and training curves; one that is stopped half-way and resumed; one
that ends in an error. After each, garbage is collected and the process is measured. The result is
one cell, which is made once (`cells.py`).

    python -m benchmarks.soak

The first 40 runs are warm-up (imports, caches of fixed size, the allocator's arenas). The slope is
fitted to the means of 10 blocks of the other 160, because neighboring measurements are not
independent; its 95 % interval is Student's with 8 degrees of freedom. Linux only.

The 2.8 KB a run that are left are not ours: safetensors 0.8.0 leaves two integers (60 bytes) behind
for every tensor that it reads from a file, none when it reads from bytes.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from benchmarks.cells import Cells, add_out
from safecompress import Splits, compress, splits_from_arrays
from safecompress.errors import NonFiniteError
from safecompress.events import Event

RUNS, WARM_UP, BLOCKS = 200, 40, 10
ROWS, WIDTH = 2000, 128
"""About 1 MB of rows a run, so that a run which stays reachable shows."""
FLAT = ("files", "threads", "os_threads", "loggers", "modules", "temporary")

TRAIN = {"epochs": 2, "lr": 0.05, "batch_size": 100, "precision": "32-true"}
SETTINGS: dict[str, Any] = {
    "sparse": {"density": 0.5, "rounds": 2, "settle_epochs": 0.5, "train": TRAIN},
    "steer": {"proposals": ["rigl", "set"], "attacks": ["loss", "neural"]},
    "engine": {"threads": 1, "checkpoint_seconds": 0},
}
DEFENDED: dict[str, Any] = {
    "steer": SETTINGS["steer"] | {"defenses": ["adversarial"]},
    "trackers": ["csv"],
}


class StopError(Exception):
    """Ends a run half-way."""


def make_model() -> nn.Module:
    """Return a small untrained network."""
    return nn.Sequential(nn.Linear(WIDTH, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))


def make_splits(seed: int) -> Splits:
    """Return rows of a run's own, the reference rows that a defense needs among them."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, WIDTH, generator=draw)
    return splits_from_arrays(x, x[:, :4].argmax(dim=1), seed=0, split={"reference": 0.2})


def plain(folder: Path, splits: Splits) -> None:
    """Run from the beginning to the end."""
    compress(make_model, splits, config=SETTINGS, out=folder)


def defended(folder: Path, splits: Splits) -> None:
    """Run with adversarial training and training curves."""
    compress(make_model, splits, config=SETTINGS | DEFENDED, out=folder)


def resumed(folder: Path, splits: Splits) -> None:
    """Stop after the first round and resume."""

    def stop(event: Event) -> None:
        if event.kind == "selected":
            raise StopError

    try:
        compress(make_model, splits, config=SETTINGS, out=folder, on_event=stop)
    except StopError:
        compress(make_model, splits, resume=folder)


def failed(folder: Path, splits: Splits) -> None:
    """Let the dense model diverge."""
    diverging = SETTINGS | {"dense": TRAIN | {"lr": 1e30}}
    try:
        compress(make_model, splits, config=diverging, out=folder)
    except NonFiniteError:
        return
    raise RuntimeError("a learning rate of 1e30 did not diverge")


KINDS: tuple[Callable[[Path, Splits], None], ...] = (plain, defended, resumed, failed)


def main() -> None:
    """Make the cell if it is missing, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_out(parser, "soak")
    options = parser.parse_args()
    cells, key = Cells(options.out), f"runs{RUNS}"
    if key not in cells:
        torch.set_num_threads(1)
        series = []
        for measured in soak(RUNS):
            print(measured, flush=True)
            series.append(measured)
        cells.write(key, report(series))
    found = cells.read(key)
    slope = found["rss_bytes_per_run"]
    print(f"RSS: {slope['value']:+.0f} bytes a run [{slope['low']:+.0f}, {slope['high']:+.0f}]")
    print(", ".join(f"{name}: {found['values_after_warm_up'][name]}" for name in FLAT))


def soak(
    runs: int,
    *,
    kinds: Sequence[Callable[[Path, Splits], None]] = KINDS,
) -> Iterator[dict[str, Any]]:
    """Yield the resources of the process after each of `runs` runs, whose kinds alternate."""
    with own_temporary_folder() as temporary, tempfile.TemporaryDirectory() as root:
        for number in range(runs):
            started = time.perf_counter()
            kinds[number % len(kinds)](Path(root) / f"run{number}", make_splits(seed=number))
            gc.collect()
            seconds = time.perf_counter() - started
            left = {"temporary": len(list(temporary.iterdir())) - 1}  # all but the runs' own folder
            measured = {"run": number, "seconds": seconds, **holdings(), **left}
            yield measured


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Give `tempfile` an empty folder, so that files left in it are the runs' own."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def holdings() -> dict[str, int]:
    """Return the resources of this process: bytes of memory, files, threads, Python objects."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "os_threads": len(list(Path("/proc/self/task").iterdir())),
        "objects": len(gc.get_objects()),
        "loggers": len(logging.root.manager.loggerDict),
        "modules": len(sys.modules),
    }


def report(series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the cell holds."""
    settled = series[WARM_UP:]
    return {
        "benchmark": "soak",
        "runs": len(series),
        "warm_up": WARM_UP,
        "kinds": [kind.__name__ for kind in KINDS],
        "rss_bytes_per_run": slope([m["rss"] for m in settled]),
        "objects_per_run": slope([m["objects"] for m in settled]),
        "values_after_warm_up": {n: sorted({m[n] for m in settled}) for n in FLAT},
        "series": {name: [m[name] for m in series] for name in series[0]},
    }


def slope(values: Sequence[float]) -> dict[str, float]:
    """Return growth per run with its 95 % interval, from the means of `BLOCKS` blocks."""
    blocks = np.array_split(np.asarray(values, dtype=np.float64), BLOCKS)
    starts = np.cumsum([0, *(len(b) for b in blocks[:-1])])
    x = starts + [(len(b) - 1) / 2 for b in blocks]
    y = np.array([b.mean() for b in blocks])
    x, y = x - x.mean(), y - y.mean()
    value = (x @ y) / (x @ x)
    error = np.sqrt(np.sum((y - value * x) ** 2) / (BLOCKS - 2) / (x @ x))
    half = stats.t.ppf(0.975, BLOCKS - 2) * error
    return {"value": float(value), "low": float(value - half), "high": float(value + half)}


if __name__ == "__main__":
    main()
