"""`train_cohort`: trains models in this process, in several local ones, or on a Ray cluster."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from safecompress import errors
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.failures import Failures
from safecompress.config import EngineConfig, ShadowsConfig
from safecompress.errors import SafeCompressError, WorkerError
from safecompress.events import Event, Listener
from safecompress.imports import isolated_path

_MOST_WORKERS = 8
"""Most processes if `shadows.workers` is not set; each loads torch, about 0.3 GB."""

_HERE = (
    "a model that is an object cannot be handed to other processes, so the shadow models are "
    "trained in this one"
)
_TRIES = 3
"""Processes that may die while training one model before `WorkerError` is raised."""


def train_cohort(
    cohort: Cohort,
    count: int,
    config: ShadowsConfig,
    *,
    model: Callable[[], nn.Module] | None = None,
    listen: Listener,
) -> None:
    """Train the first `count` models of a cohort that are not trained yet.

    If a process is killed, another one continues its model from the last checkpoint.

    Args:
        cohort: the cohort.
        count: how many models.
        config: where they are trained, and how many at once.
        model: makes the untrained module if the configuration names none; such models are
            trained in this process, one after the other.
        listen: called with an event for each trained model.

    Raises:
        NonFiniteError: when a training diverges.
        WorkerError: when processes keep dying on one model.
        BusyRunError: when another process holds a model for minutes without a sign of life.
        StorageError: when the disk is full; what is trained is kept.
    """
    todo = cohort.missing(count)
    reporter = _ProgressReporter(count, count - len(todo), listen)
    if not todo:
        return
    # Counted over all models, because rounding depends on the number of threads: a model that is
    # trained after an interruption gets as many as it would have had.
    processes = min(count, config.workers or _default_workers(cohort.plan.config.engine))
    if model is not None or (processes == 1 and config.backend == "local"):
        if model is not None and (config.backend == "ray" or processes > 1):
            listen(Event("note", _HERE, {}))
        _train_here(cohort, todo, model, reporter.trained)
        return
    threads = max(1, torch.get_num_threads() // processes)
    if config.backend == "ray":
        from safecompress.cohorts.ray import train_on_ray

        train_on_ray(
            cohort,
            todo,
            threads=threads,
            most=config.workers,
            trained=lambda number: reporter.trained([number]),
        )
    else:
        processes = min(len(todo), processes)
        groups = _groups(todo, processes, cohort.at_once())
        _train_locally(cohort.folder, groups, processes, threads, reporter.trained)


def _train_here(
    cohort: Cohort,
    todo: Sequence[int],
    model: Callable[[], nn.Module] | None,
    trained: Callable[[Sequence[int]], None],
) -> None:
    """Train models in this process, as many side by side as fit into memory."""
    failures = Failures()
    for group in _groups(todo, 1, cohort.at_once(model)):
        try:
            cohort.train_together(group, model=model)
        except SafeCompressError as error:
            failures.add(error)
            if not failures.go_on:
                break
        else:
            trained(group)
    failures.raise_first()


def _groups(todo: Sequence[int], processes: int, at_once: int) -> list[list[int]]:
    """Return which models are trained side by side; every process gets about as many.

    The bits of a model do not depend on its group, so a resumed cohort may be grouped otherwise.
    """
    models, rounds = len(todo), math.ceil(len(todo) / (processes * at_once))
    count = min(models, processes * rounds)
    ends = [models * k // count for k in range(count + 1)]
    return [list(todo[begin:end]) for begin, end in pairwise(ends)]


def _default_workers(engine: EngineConfig) -> int:
    """Return 1 on a GPU, which processes would slow down for each other; else one for each core."""
    on_gpu = engine.accelerator == "gpu" or (
        engine.accelerator == "auto" and torch.cuda.is_available()
    )
    return 1 if on_gpu else min(torch.get_num_threads(), _MOST_WORKERS)


class _ProgressReporter:
    """Reports how many models of a cohort are trained; may be called from any thread."""

    def __init__(self, count: int, before: int, listen: Listener) -> None:
        self._count, self._done, self._before, self._listen = count, before, before, listen
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def trained(self, numbers: Sequence[int]) -> None:
        with self._lock:
            self._done += len(numbers)
            each = (time.monotonic() - self._started) / (self._done - self._before)
            eta = each * (self._count - self._done)
            text = f"shadow model {self._done} of {self._count}"
            data = {"stage": "shadows", "piece": f"shadow {numbers[-1]}", "done": self._done}
            data |= {"total": self._count, "rate": 1 / max(each, 1e-9), "eta": eta}
            self._listen(Event("progress", text, data))


def _train_locally(
    folder: Path,
    groups: Sequence[Sequence[int]],
    processes: int,
    threads: int,
    trained: Callable[[Sequence[int]], None],
) -> None:
    """Train models in worker processes; each takes the next group when it has finished one.

    Raises:
        SafeCompressError: the first error of a model, once no other one can be trained.
    """
    left, lock, failures = iter(groups), threading.Lock(), Failures()
    workers = [_Worker(folder, threads) for _ in range(processes)]

    def serve(worker: _Worker) -> None:
        while True:
            with lock:
                group = next(left, None) if failures.go_on else None
            if group is None:
                return
            try:
                worker.train(group)
            except SafeCompressError as error:
                with lock:
                    failures.add(error)
            else:
                trained(group)

    with ThreadPoolExecutor(processes) as pool:
        serving = [pool.submit(serve, worker) for worker in workers]
        try:
            wait(serving, return_when=FIRST_EXCEPTION)
        finally:
            # Workers end at once, also after an error or Ctrl-C; their checkpoints can be resumed.
            for worker in workers:
                worker.end()
    for future in serving:
        future.result()
    failures.raise_first()


class _EndedError(Exception):
    """`_Worker.end` was called while the worker was training."""


class _Worker:
    """A process that trains models, replaced when it dies."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder, threads
        self._process: subprocess.Popen[str] | None = None
        self._ended = False

    def train(self, numbers: Sequence[int]) -> None:
        """Train models side by side in the process, and go on in a new one if the process dies.

        Raises:
            SafeCompressError: the error that a training raised in the process.
            WorkerError: when `_TRIES` processes have died while training the models.
        """
        codes = []
        for _ in range(_TRIES):
            answer = self._ask(numbers)
            if answer:
                _raise_what_it_raised(numbers, json.loads(answer))
                return
            codes.append(str(self._leave()))
            if self._ended:
                raise _EndedError
        raise WorkerError(
            f"{_named(numbers)}: {_TRIES} processes died while training (exit codes "
            f"{', '.join(codes)}; -9 is often a lack of memory). What is trained is kept: resume "
            "with fewer shadows.workers."
        )

    def end(self) -> None:
        """Kill the process and make a running `train` raise `_EndedError`."""
        self._ended = True
        self._leave()

    def _ask(self, numbers: Sequence[int]) -> str:
        """Send numbers and return the process's line of JSON; empty if the process has died."""
        process = self._process = self._process or self._begin()
        if process.stdin is None or process.stdout is None:
            raise TypeError("a worker without pipes")
        try:
            print(*numbers, file=process.stdin, flush=True)
            return process.stdout.readline()
        except (BrokenPipeError, ValueError):
            return ""

    def _begin(self) -> subprocess.Popen[str]:
        # `-P`: Python would put the current folder first on the worker's import path, where a file
        # called `queue.py` takes the place of Python's own module.
        command = [sys.executable, "-P", "-m", "safecompress.cohorts.worker", str(self._folder)]
        # The rest of the path is the same, so that the worker finds what this process finds.
        path, last = isolated_path()
        return subprocess.Popen(  # noqa: S603
            [*command, str(self._threads), *last],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(self._threads)},
        )

    def _leave(self) -> int | None:
        """Kill the process, if there is one, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return code


def _named(numbers: Sequence[int]) -> str:
    return f"shadow model{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _raise_what_it_raised(numbers: Sequence[int], answer: Mapping[str, str]) -> None:
    if "error" not in answer:
        return
    kind = getattr(errors, answer["error"], errors.SafeCompressError)
    raise kind(f"{_named(numbers)}: {answer['text']}")
