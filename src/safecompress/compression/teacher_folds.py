"""`folds_of`, `held_out`, `left_out`: which members each teacher is trained without."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.config import TeachersConfig
from safecompress.data import content_of_inputs
from safecompress.errors import DataError
from safecompress.protocols import Rows
from safecompress.randomness import permutation


def folds_of(members: Rows, config: TeachersConfig, *, seed: int) -> Tensor:
    """Return the fold of every member; the same teachers never see the members of a fold.

    Args:
        members: the rows to divide into folds; equal inputs always share a fold.
        config: number of folds.
        seed: the run's seed.

    Returns:
        Folds from 0, int64 (members,).

    Raises:
        DataError: when there are fewer distinct rows than folds.
    """
    content = torch.from_numpy(content_of_inputs([members.inputs])[0])
    distinct, owner = torch.unique(content, return_inverse=True)
    if len(distinct) < config.folds:
        raise DataError(
            f"teachers.folds is {config.folds}, but the members have only {len(distinct)} distinct "
            "rows; make fewer folds."
        )
    return permutation(len(distinct), seed, "teachers", "folds")[owner] % config.folds


def held_out(members: Rows, config: TeachersConfig, *, seed: int) -> Tensor:
    """Return which rows each teacher is trained without.

    Args:
        members: the rows to divide into folds; equal inputs always share a fold.
        config: number of folds, and how many of them each teacher leaves out.
        seed: the run's seed.

    Returns:
        Bool (folds, members); every row is left out by exactly `held_out` teachers.

    Raises:
        DataError: when there are fewer distinct rows than folds.
    """
    return left_out(folds_of(members, config, seed=seed), config)


def left_out(folds: Tensor, config: TeachersConfig) -> Tensor:
    """Return which teachers leave out the rows of these folds, bool (folds, n).

    Args:
        folds: int64 (n,); taken modulo the number of folds.
        config: number of folds, and how many of them each teacher leaves out.
    """
    teachers = torch.arange(config.folds).unsqueeze(1)
    return (folds % config.folds - teachers) % config.folds < config.held_out
