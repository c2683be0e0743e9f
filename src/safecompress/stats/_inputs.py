"""Checks and conversions of inputs: scores, guesses and labels of two groups, and shares."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from safecompress.errors import ConfigError, DataError, NonFiniteError, UndecidableError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


def _one_dimensional(values: ArrayLike, name: str) -> NDArray[np.generic]:
    """Return `values` as a 1-D numpy array; `np.asarray` converts CPU tensors, too."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: {type(values).__name__} cannot become a numpy array ({error}); "
            "pass a 1-D numpy array or a detached CPU tensor of a type numpy knows."
        ) from error
    if array.ndim != 1:
        raise DataError(f"{name}: shape {array.shape}; expected (n,), one value per row.")
    return array


def as_scores(values: ArrayLike, name: str) -> Floats:
    """Return scores as a new float64 array (n,); infinities have a rank, NaN has none.

    Args:
        values: real numbers (n,), infinities allowed.
        name: begins the message.

    Raises:
        DataError: when it is not one real number per row.
        NonFiniteError: when a score is NaN.
    """
    array = _one_dimensional(values, name)
    if array.size and array.dtype.kind not in "biuf":
        raise DataError(f"{name}: dtype {array.dtype}; expected real numbers.")
    scores = array.astype(np.float64)
    # `min` is NaN where any score is, and is faster than `isnan` of all of them.
    if scores.size and np.isnan(scores.min()):
        nan = int(np.isnan(scores).sum())
        raise NonFiniteError(
            f"{name}: {nan} of {len(scores)} scores are NaN (first: row "
            f"{int(np.isnan(scores).argmax())}); a NaN has no rank. Find what produced it."
        )
    return scores


def as_guesses(values: ArrayLike, name: str) -> Bools:
    """Return yes/no values as bool (n,).

    Args:
        values: bool (n,), or numbers that are all 0 or 1.
        name: begins the message.

    Raises:
        DataError: when a value is neither.
    """
    array = _one_dimensional(values, name)
    if array.dtype.kind != "b":
        if array.size and (array.dtype.kind not in "iuf" or not bool(np.isin(array, (0, 1)).all())):
            raise DataError(f"{name}: dtype {array.dtype}; expected bool, or numbers 0 and 1.")
        array = array.astype(np.float64) == 1
    return array.astype(np.bool_)


def as_labels(values: ArrayLike, name: str, *, classes: int) -> Ints:
    """Return class indices as int64 (n,), each in [0, classes).

    Args:
        values: integers (n,).
        name: begins the message.
        classes: number of classes.

    Raises:
        DataError: on another dtype or a label outside the classes.
    """
    array = _one_dimensional(values, name)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise DataError(f"{name}: dtype {array.dtype}; expected integer class indices.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= classes:
        raise DataError(f"{name}: labels run from {low} to {high}; expected 0 to {classes - 1}.")
    return array.astype(np.int64)


def require_rows(n_members: int, n_nonmembers: int, figure: str) -> None:
    """Raise `UndecidableError` when one of the two groups is empty.

    Args:
        n_members: number of members.
        n_nonmembers: number of non-members.
        figure: name of the statistic, for the message.
    """
    if min(n_members, n_nonmembers) == 0:
        raise UndecidableError(
            f"{figure}: {n_members} members and {n_nonmembers} non-members; "
            "it needs at least one of each."
        )


def two_scores(members: ArrayLike, nonmembers: ArrayLike, figure: str) -> tuple[Floats, Floats]:
    """Return the scores of two non-empty groups as new float64 arrays (m,) and (n,).

    Args:
        members: scores (m,).
        nonmembers: scores (n,).
        figure: name of the statistic, for messages.
    """
    m, n = as_scores(members, f"{figure}: members"), as_scores(nonmembers, f"{figure}: nonmembers")
    require_rows(len(m), len(n), figure)
    return m, n


def two_guesses(members: ArrayLike, nonmembers: ArrayLike, figure: str) -> tuple[Bools, Bools]:
    """Return the guesses about two non-empty groups as bool (m,) and (n,).

    Args:
        members: guesses about members (m,).
        nonmembers: guesses about non-members (n,).
        figure: name of the statistic, for messages.
    """
    m = as_guesses(members, f"{figure}: guessed_members")
    n = as_guesses(nonmembers, f"{figure}: guessed_nonmembers")
    require_rows(len(m), len(n), figure)
    return m, n


def larger_of_two(*groups: Floats) -> float | None:
    """Return the larger value where all scores together take exactly two; None otherwise.

    Args:
        groups: scores, non-empty.
    """
    low, high = min(float(g.min()) for g in groups), max(float(g.max()) for g in groups)
    if low == high or not all(bool(((g == low) | (g == high)).all()) for g in groups):
        return None
    return high


def require_share(value: float, name: str, *, open_ended: bool = False) -> float:
    """Return `value` as a float when it is in [0, 1].

    Args:
        value: the share.
        name: begins the message.
        open_ended: whether 0 and 1 are excluded.

    Raises:
        ConfigError: otherwise, NaN included.
    """
    valid = 0 < value < 1 if open_ended else 0 <= value <= 1
    if not valid:
        limits = "between 0 and 1, both excluded" if open_ended else "in [0, 1]"
        raise ConfigError(f"{name}: {value!r}; expected a share {limits}.")
    return float(value)


def counter_based(seed: int) -> np.random.Generator:
    """Return a generator whose draws depend on `seed` alone.

    Args:
        seed: any integer; seeds that differ by a multiple of 2**64 are the same.
    """
    return np.random.Generator(np.random.Philox(key=seed % 2**64))
