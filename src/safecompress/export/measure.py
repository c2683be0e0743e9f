"""`sizes`, `loading`, `latencies`: bytes, load time, memory and latency of exported files."""

from __future__ import annotations

import io
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import ModelError
from safecompress.export.compact import zstd
from safecompress.export.format import Feed, Session
from safecompress.verdicts.export_document import BatchLatency, Latency, Loading, Sizes
from safecompress.verdicts.parts import Span

BATCHES = (1, 32)
"""Numbers of rows whose latency is measured."""
ROUNDS = 25
_PROBES = 3
_TURN_SECONDS = 0.02
"""About how long a file computes in one turn; short batches are repeated to fill it."""
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


def sizes(data: bytes) -> Sizes:
    """Return a file's bytes on disk, zipped (deflate, level 9) and packed with zstd (level 19).

    Args:
        data: the content of the file.

    Raises:
        ConfigError: when the package `zstandard` is not installed.
    """
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model", data)
    return Sizes(disk=len(data), zip=len(zipped.getvalue()), zstd=len(zstd(data)))


def loading(path: Path, feed: Feed, *, loader: Path, threads: int) -> Loading:
    """Return the median seconds to load a file, and the median bytes that it takes in memory.

    Every measurement is made in a new process that holds nothing but the runtime. The memory is the
    peak after one batch, less what the runtime took before the file was loaded.

    Args:
        path: the file.
        feed: inputs by name, at least one row; up to 32 rows are used.
        loader: the script of a format's `loader`.
        threads: of the runtime inside one operator, at least 1.

    Raises:
        ModelError: when the process fails, with the end of its error output.
    """
    script = Path(__file__).with_name("_probe.py")
    probes: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        few: dict[str, Any] = {name: array[: BATCHES[-1]] for name, array in feed.items()}
        np.savez(rows, **few)
        for _ in range(_PROBES):
            process = subprocess.run(  # noqa: S603 - our own script, by its path
                [
                    sys.executable,
                    "-I",
                    *map(str, (script, loader.resolve(), path.resolve(), rows, threads)),
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            if process.returncode:
                raise ModelError(f"{path}: cannot be loaded alone: {process.stderr.strip()[-300:]}")
            probes.append(json.loads(process.stdout))
    return Loading(
        seconds=statistics.median(f["seconds"] for f in probes),
        bytes=statistics.median(f["bytes"] for f in probes),
    )


def latencies(
    sessions: Mapping[str, Session], feed: Feed, *, threads: int, rounds: int = ROUNDS
) -> Latency:
    """Return the milliseconds each file takes for 1 and for 32 rows, and their ratios.

    The files take turns, so that other work on the machine slows all of them alike. A ratio is the
    median over the turns, with its 95 % interval from order statistics.

    Args:
        sessions: opened files by name, all with the same number of threads. A ratio is the time of
            the first file over that of another.
        feed: inputs by name, at least one row; rows are repeated to fill a batch.
        threads: that the sessions were opened with; it is recorded.
        rounds: turns of each file.
    """
    ours = next(iter(sessions))
    batches: dict[str, BatchLatency] = {}
    for batch in BATCHES:
        rows = {name: np.resize(a, (batch, *a.shape[1:])) for name, a in feed.items()}
        times = _turns(sessions, rows, rounds)
        batches[str(batch)] = BatchLatency(
            milliseconds={n: round(1e3 * statistics.median(t), 4) for n, t in times.items()},
            ratios={
                name: _median(np.asarray(times[ours]) / np.asarray(times[name]))
                for name in sessions
                if name != ours
            },
        )
    return Latency(
        runtime=_runtimes(sessions),
        threads=threads,
        machine=f"{platform.machine()}, {_processor()}",
        rounds=rounds,
        batches=batches,
    )


def _runtimes(sessions: Mapping[str, Session]) -> str:
    """Return the runtime's name; also that of the other files, where it differs."""
    (name, first), *others = sessions.items()
    rest = sorted({session.runtime for _, session in others} - {first.runtime})
    return f"{name}: {first.runtime}; others: {', '.join(rest)}" if rest else first.runtime


def _turns(sessions: Mapping[str, Session], rows: Feed, rounds: int) -> dict[str, list[float]]:
    repeats = {}
    for name, session in sessions.items():
        session.ask(rows)
        started = time.perf_counter()
        session.ask(rows)
        took = time.perf_counter() - started
        repeats[name] = max(1, min(200, round(_TURN_SECONDS / max(took, 1e-6))))
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            for _ in range(repeats[name]):
                session.ask(rows)
            times[name].append((time.perf_counter() - started) / repeats[name])
    return times


def _median(ratios: NDArray[np.float64], level: float = 0.95) -> Span:
    """Return a median with its interval from order statistics, which assumes no distribution."""
    # Only here, because it takes half a second to import.
    from scipy.stats import binom

    ordered = np.sort(ratios)
    n = len(ordered)
    below = max(0, int(binom.ppf((1 - level) / 2, n, 0.5)) - 1)
    return Span(
        value=float(np.median(ordered)),
        low=float(ordered[below]),
        high=float(ordered[n - 1 - below]),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    able = [flag for flag in _INSTRUCTIONS if flag in flags]
    return f"{named[0] if named else 'unknown processor'} ({' '.join(able) or 'no AVX2'})"
