"""Models of a cohort on a Ray cluster, whose machines share the cohort's folder."""

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

    A task whose machine is lost is tried again elsewhere and goes on from its last checkpoint. At
    equal threads on equal processors the result equals a local one, bit for bit.

    Args:
        folder: the cohort's, at the same path on every machine.
        numbers: which models.
        threads: torch threads, and so Ray CPUs, of each.
        trained: called with each that is done.

    Raises:
        ConfigError: when Ray is not installed.
        SafeCompressError: what a training raised.
        WorkerError: when Ray loses a task again and again.
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
            for found in ready:
                ray.get(found)
                trained(left.pop(found))
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
        for found in left:
            ray.cancel(found, force=True)


def _train(folder: str, number: int, threads: int) -> None:
    torch.set_num_threads(threads)
    Cohort.open(Path(folder)).train(number)
