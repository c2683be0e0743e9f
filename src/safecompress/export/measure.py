"""Bytes, load time, memory and latency of files, measured side by side."""

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
from scipy.stats import binom

from safecompress.errors import ModelError
from safecompress.export.compact import zstd
from safecompress.export.format import Feed, Session
from safecompress.verdicts.export_document import BatchLatency, Latency, Loading, Sizes
from safecompress.verdicts.parts import Span

BATCHES = (1, 32)
ROUNDS = 25
_PROBES = 3
_TURN_SECONDS = 0.02
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


def sizes(data: bytes) -> Sizes:
    """Return a file's bytes on disk, zipped (deflate, level 9) and packed with zstd (level 19)."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model", data)
    return Sizes(disk=len(data), zip=len(zipped.getvalue()), zstd=len(zstd(data)))


def loading(path: Path, feed: Feed, *, loader: Path, threads: int) -> Loading:
    """Return median seconds to load a file, and bytes of memory loading and one batch take.

    Each time in a process of its own, which holds nothing but the runtime.

    Args:
        path: the file.
        feed: inputs by name, at least one row.
        loader: a script that loads it, as a format's `loader`.
        threads: of the runtime, inside an operator.

    Raises:
        ModelError: when the file cannot be loaded alone.
    """
    script = Path(__file__).with_name("_probe.py")
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        few: dict[str, Any] = {name: array[: BATCHES[-1]] for name, array in feed.items()}
        np.savez(rows, **few)
        for _ in range(_PROBES):
            done = subprocess.run(  # noqa: S603 - our own script, by its path
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
            if done.returncode:
                raise ModelError(f"{path}: cannot be loaded alone: {done.stderr.strip()[-300:]}")
            found.append(json.loads(done.stdout))
    return Loading(
        seconds=statistics.median(f["seconds"] for f in found),
        bytes=statistics.median(f["bytes"] for f in found),
    )


def latencies(
    sessions: Mapping[str, Session], feed: Feed, *, threads: int, rounds: int = ROUNDS
) -> Latency:
    """Return what a runtime takes for a batch of each file, and the ratios between them.

    The files take turns, so that other work on the machine disturbs all alike; a ratio is the
    median of the turns' ratios, with the interval that order statistics give it.

    Args:
        sessions: files by name, opened with as many threads; the ratios are those of the first to
            every other.
        feed: inputs by name, at least one row.
        threads: what the sessions were opened with, for the record.
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
    """Return the runtime's name; the first file's and the others' where they differ."""
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
    """Return a median with its interval from order statistics, which supposes no distribution."""
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
