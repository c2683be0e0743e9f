"""`train_on_ray`: trains models on a Ray cluster, whose machines share the cohort's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from safecompress.cohorts.cohort import PLAN, Cohort
from safecompress.cohorts.failures import Failures
from safecompress.config import EngineConfig
from safecompress.errors import ConfigError, SafeCompressError, WorkerError
from safecompress.imports import isolated_path

_RETRIES = 2


def train_on_ray(
    cohort: Cohort,
    numbers: Sequence[int],
    *,
    threads: int,
    most: int | None,
    trained: Callable[[int], None],
) -> None:
    """Train models of a cohort as Ray tasks.

    If a task's machine is lost, Ray runs the task elsewhere, where it continues from its last
    checkpoint. With the same number of threads on the same kind of processor, the models equal
    locally trained ones bit for bit. A task asks for the GPUs that the configuration gives a run.

    Args:
        cohort: the cohort; its folder is at the same path on every machine.
        numbers: the models to train.
        threads: torch threads of each task, which is also its number of Ray CPUs.
        most: most tasks at once; None for as many as the cluster has room for.
        trained: called with the number of each trained model.

    Raises:
        ConfigError: when Ray is not installed.
        SafeCompressError: the first error that a training raised, once no other model can be
            trained.
        WorkerError: when Ray has lost a task more often than it retries one.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "shadows.backend is 'ray', which is not installed: pip install 'safecompress[ray]', or "
            "set shadows.backend: local."
        ) from error
    body = _isolated(begun_by_user=ray.is_initialized())
    if not ray.is_initialized():
        # Ray puts the folder in which it is started first on the import path of its processes, and
        # imports modules there before any task can change that: so not in the user's folder.
        with chdir(Path.cwd().anchor):
            ray.init(log_to_driver=False)
    gpus = gpus_of(cohort.plan.config.engine, ray.cluster_resources())
    task: Any = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=_RETRIES)(body)
    waiting, failures = list(numbers), Failures()
    running: dict[Any, int] = {}
    try:
        while running or (waiting and failures.go_on):
            while waiting and failures.go_on and (most is None or len(running) < most):
                number = waiting.pop(0)
                running[task.remote(str(cohort.folder.resolve()), number, threads)] = number
            for done in ray.wait(list(running))[0]:
                number = running.pop(done)
                try:
                    ray.get(done)
                except ray.exceptions.RayError as error:
                    failures.add(_meaning(error, number))
                else:
                    trained(number)
    finally:
        for unfinished in running:
            ray.cancel(unfinished, force=True)
    failures.raise_first()


def gpus_of(engine: EngineConfig, resources: Mapping[str, float]) -> int:
    """Return how many GPUs a task asks for; a task that asks for none is shown none by Ray.

    Args:
        engine: of the configuration; `auto` devices are one, because a task sees what it asked for.
        resources: of the whole cluster, as Ray counts them.
    """
    wanted = engine.accelerator == "gpu" or (
        engine.accelerator == "auto" and resources.get("GPU", 0) > 0
    )
    return (1 if engine.devices == "auto" else engine.devices) if wanted else 0


def train_model(folder: str, number: int, threads: int) -> None:
    """Train one model; the body of a task.

    Args:
        folder: the cohort's folder.
        number: the model, from 0.
        threads: torch threads to compute with.
    """
    torch.set_num_threads(threads)
    _opened(folder, (Path(folder) / PLAN).stat().st_mtime_ns).train_together([number])


@lru_cache(maxsize=1)
def _opened(folder: str, changed: int) -> Cohort:  # noqa: ARG001
    """Return a cohort, which a process that Ray uses for several tasks reads and hashes once.

    Args:
        folder: the cohort's folder.
        changed: when its plan was written; a new plan is another cohort.
    """
    return Cohort.open(Path(folder))


def _isolated(*, begun_by_user: bool) -> Callable[[str, int, int], None]:
    """Return the function of a task, which Ray sends whole because it is a nested one.

    Where the user has started Ray, the driver's current folder is first on the import path of its
    processes, and a file called `queue.py` there takes the place of Python's own module. So the
    function takes that folder off before it imports anything. It works in it, so that code which
    the configuration names is found as by the driver.
    """
    here = str(Path.cwd())
    path, last = isolated_path()
    apart = here not in path

    def task(folder: str, number: int, threads: int) -> None:
        import os
        import sys

        begun_here = begun_by_user and here in sys.path
        if apart:
            sys.path[:] = [entry for entry in sys.path if entry != here] + last
        if (begun_here or not begun_by_user) and os.path.isdir(here):  # noqa: PTH112
            os.chdir(here)
        from safecompress.cohorts.ray import train_model

        train_model(folder, number, threads)

    return task


def _meaning(error: Any, number: int) -> Exception:
    """Return what an error of Ray means: what the training raised, or that the task was lost."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, SafeCompressError):
        return cause
    if isinstance(cause, Exception):
        return error  # type: ignore[no-any-return]
    return WorkerError(
        f"Ray lost the task of shadow model {number} {_RETRIES + 1} times ({error}). What is "
        "trained is kept: resume when the cluster is well."
    )
