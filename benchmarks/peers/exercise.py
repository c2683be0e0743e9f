"""`Exercise`, `Clock`: the input of every side of `benchmarks/audit_speed.py`, and its timing.

An adapter is a module of this folder that calls one tool's public functions. It is run as

    python -m benchmarks.peers.NAME PART --exercise FOLDER --shadows K --out FILE

by the tool's own Python, so this file needs torch and NumPy and nothing of ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

REPETITIONS = 3
"""How often a process repeats a scoring; the fastest repetition counts."""

TRAINING: Mapping[str, Any] = {
    "epochs": 48,
    # 2,505 rows are 15 whole batches, so tools that drop the last partial batch train as long.
    "batch_size": 167,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "milestones": (0.5, 0.75),
    "gamma": 0.1,
}

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Exercise:
    """The rows, the target, and the shadow models' outputs where they are given.

    Args:
        folder: folder of the files; `target.pt` is the target's state dict.
        x: float32 (n, 446).
        y: int64 (n,).
        target_seen: bool (n,), the target's members.
        population: bool (n,), the non-members that RMIA compares with; never judged.
        judged: bool (n,), the rows that RMIA is judged on.
        target: float32 (n, classes), the target's logits.
        shadows: float32 (k, n, classes), the shadow models' logits; empty where not given.
        seen: bool (k, n), the shadow models' members.
    """

    folder: Path
    x: Floats
    y: NDArray[np.int64]
    target_seen: Bools
    population: Bools
    judged: Bools
    target: Floats
    shadows: Floats
    seen: Bools

    @classmethod
    def read(cls, folder: Path, count: int) -> Exercise:
        """Read an exercise with its first `count` shadow models, or as many as are trained."""
        rows = np.load(folder / "rows.npz")
        given = (folder / "shadows.npy").exists()
        shadows = np.load(folder / "shadows.npy")[:count] if given else np.empty((0, 0, 0))
        seen = np.load(folder / "seen.npy")[:count] if given else np.empty((0, 0), dtype=bool)
        return cls(folder, **{name: rows[name] for name in rows}, shadows=shadows, seen=seen)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the target's weights."""
        state: dict[str, torch.Tensor] = torch.load(self.folder / "target.pt", weights_only=True)
        return state

    def log_odds(self, logits: Floats) -> Floats:
        """Return log p_y − log(1 − p_y) of the labels, for tools that take it from their user."""
        p = self.probabilities(logits)
        return np.log(p + 1e-45) - np.log(1.0 - p + 1e-45)

    def probabilities(self, logits: Floats) -> Floats:
        """Return the labels' probabilities, float64 (…, n), of logits (…, n, classes)."""
        z = logits.astype(np.float64)
        z = np.exp(z - z.max(axis=-1, keepdims=True))
        own = np.take_along_axis(z, self.y.reshape(-1, 1), axis=-1) if z.ndim == 2 else None
        if own is None:
            own = z[:, np.arange(len(self.y)), self.y][..., None]
        return own[..., 0] / z.sum(axis=-1)


class Clock:
    """Wall-clock and CPU seconds of a block, including those of child processes it waited for."""

    def __enter__(self) -> Clock:
        self.wall, self.cpu = -time.perf_counter(), -_cpu()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += _cpu()

    def read(self) -> dict[str, float]:
        """Return both, in seconds."""
        return {"wall": self.wall, "cpu": self.cpu}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


Scoring = Callable[[Exercise], Floats]
"""A function that scores rows (n,) from logits in memory; NaN for rows it does not score."""
Whole = Callable[[Exercise, int, int, Path], tuple[dict[str, Any], dict[str, Floats]]]
"""A function of an exercise, a number of shadow models, a seed and a folder. It trains the models,
scores the rows, and returns its seconds and scores."""


def run(scorings: Callable[[Exercise, Path], Mapping[str, Scoring]], whole: Whole | None) -> None:
    """Be an adapter: time what the command line asks, and write scores and seconds.

    Args:
        scorings: makes the tool's attacks on given shadow models ready; not timed.
        whole: trains and scores; None where the tool does not train.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["scoring", "whole"])
    parser.add_argument("--exercise", type=Path, required=True)
    parser.add_argument("--shadows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    exercise = Exercise.read(options.exercise, options.shadows)
    seconds: dict[str, Any] = {}
    scores: dict[str, Floats] = {}
    with tempfile.TemporaryDirectory() as temporary:
        if options.part == "whole":
            if whole is None:
                parser.error("this tool trains no shadow models")
            seconds, scores = whole(exercise, options.shadows, options.seed, Path(temporary))
        else:
            for name, scoring in scorings(exercise, Path(temporary)).items():
                scores[name], seconds[name] = fastest(scoring, exercise)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(options.out, **scores)
    options.out.with_suffix(".json").write_text(json.dumps({"seconds": seconds, "peak_mb": peak}))


def fastest(scoring: Scoring, exercise: Exercise) -> tuple[Floats, dict[str, float]]:
    """Return the scores and the seconds of the fastest repetition."""
    times = []
    for _ in range(REPETITIONS):
        with Clock() as clock:
            scores = scoring(exercise)
        times.append(clock.read())
    return scores, min(times, key=lambda t: t["cpu"])
