"""`train_on_ray`: trains models on a Ray cluster, whose machines share the cohort's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from safecompress.cohorts.cohort import Cohort
from safecompress.errors import ConfigError, SafeCompressError, WorkerError

_RETRIES = 2


def train_on_ray(
    folder: Path, numbers: Sequence[int], *, threads: int, trained: Callable[[int], None]
) -> None:
    """Train models of a cohort as Ray tasks.

    If a task's machine is lost, Ray runs the task elsewhere, where it continues from its last
    checkpoint. With the same number of threads on the same kind of processor, the models equal
    locally trained ones bit for bit.

    Args:
        folder: the cohort's folder, at the same path on every machine.
        numbers: the models to train.
        threads: torch threads of each task, which is also its number of Ray CPUs.
        trained: called with the number of each trained model.

    Raises:
        ConfigError: when Ray is not installed.
        SafeCompressError: the error that a training raised.
        WorkerError: when Ray has lost a task more often than it retries one.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "shadows.backend is 'ray', which is not installed: pip install 'safecompress[ray]', or "
            "set shadows.backend: local."
        ) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    task: Any = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_train)
    left = {task.remote(str(folder.resolve()), n, threads): n for n in numbers}
    try:
        while left:
            ready, _ = ray.wait(list(left))
            for done in ready:
                ray.get(done)
                trained(left.pop(done))
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, SafeCompressError):
            raise cause from error
        raise
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"Ray lost a shadow model's task {_RETRIES + 1} times ({error}). What is trained is "
            "kept: resume when the cluster is well."
        ) from error
    finally:
        for unfinished in left:
            ray.cancel(unfinished, force=True)


def _train(folder: str, number: int, threads: int) -> None:
    torch.set_num_threads(threads)
    Cohort.open(Path(folder)).train(number)
