"""`is_code`, `training_code`: the functions of a user's own that train the models of a run."""

from __future__ import annotations

from collections.abc import Iterator

from safecompress.config.schema import CompressConfig
from safecompress.config.training import TrainConfig


def is_code(value: str | None) -> bool:
    """Return whether a value names a function as `package.module:function`.

    Args:
        value: a value of a configuration.
    """
    return value is not None and ":" in value


def stages_of(config: CompressConfig) -> Iterator[TrainConfig]:
    """Yield every section that says how models are trained.

    Args:
        config: the run's configuration.
    """
    sparse = config.sparse
    for stage in (
        *(config.dense, sparse.train, sparse.admm.train, sparse.gradual.train),
        *(sparse.student.train, config.teachers.train),
    ):
        if stage is not None:
            yield stage


def training_code(config: CompressConfig) -> tuple[str, ...]:
    """Return the import paths of the losses and augmentations that a configuration names.

    Args:
        config: the run's configuration.
    """
    named = [p for s in stages_of(config) for p in (s.loss, s.augment) if p is not None]
    return tuple(dict.fromkeys(path for path in named if is_code(path)))
