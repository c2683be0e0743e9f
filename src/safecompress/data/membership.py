"""`resolve_membership`, `declared_members` and `read_members`: which rows are members.

Members are the rows that the weights were, or will be, trained on. For given weights they are
declared and never guessed, because a wrong guess would give a false PASS.
"""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from safecompress.config import SplitConfig
from safecompress.data.npz_source import check_file
from safecompress.data.raw import RawData, first
from safecompress.errors import DataError, MembershipError
from safecompress.randomness import permutation

Membership: TypeAlias = Literal["fresh", "pair", "index", "unseen"]
Ids: TypeAlias = NDArray[np.int64]


def resolve_membership(split: SplitConfig, *, weights_given: bool) -> Membership:
    """Return how it is known which rows are members.

    Args:
        split: its `membership` is what the user declared.
        weights_given: whether training starts from weights that were trained before.

    Raises:
        MembershipError: when weights are given and it is not declared what they were trained on.
    """
    if split.membership is None and not weights_given:
        return "fresh"
    if split.membership is None or (split.membership == "fresh" and weights_given):
        given = "nothing" if split.membership is None else "'fresh' (training from nothing)"
        raise MembershipError(
            "trained weights are given, so which rows they were trained on must be declared; "
            f"split.membership says {given}. Declare one of: membership: pair (the source's train "
            "part is what the weights were trained on, its test part is not); membership: index "
            "with members_file (a list of the rows they were trained on); membership: unseen (they "
            "saw none of this data). It is not guessed: taking a trained row for an unseen one "
            "makes members and non-members look alike, and the verdict would be a false PASS."
        )
    return split.membership


def declared_members(raw: RawData, split: SplitConfig, membership: Membership) -> Ids | None:
    """Return the rows declared as members in rising order, or None where they are to be drawn.

    Args:
        raw: the source's rows; `pair` takes its train part.
        split: its `members_file` is read with `index`.
        membership: how membership is known.

    Raises:
        MembershipError: when the declaration does not fit the source.
        DataError: when the list of members cannot be used.
    """
    if membership == "pair":
        if raw.test_from is None:
            raise MembershipError(
                f"{raw.where}: split.membership is 'pair' but the source has one part; give its "
                "test part, or declare membership another way."
            )
        return np.arange(raw.test_from)
    if membership == "index":
        if split.members_file is None:
            raise MembershipError(
                "split.membership is 'index' but split.members_file is missing; name the file "
                "that lists the members' rows."
            )
        return read_members(split.members_file, rows=len(raw))
    return None


def draw_rows(raw: RawData, split: SplitConfig, *, seed: int) -> Ids:
    """Return the indices of the rows in use, in rising order.

    Args:
        raw: the source's rows.
        split: its `rows` is how many are drawn; None or more than there are takes all.
        seed: seed of the draw.
    """
    n = len(raw)
    if split.rows is None or split.rows >= n:
        return np.arange(n)
    return np.sort(permutation(n, seed, "rows").numpy()[: split.rows])


def how_many(wanted: float, n: int) -> int:
    """Return a number of rows that is given as a count or as a share.

    Args:
        wanted: an int is a count, of which at most `n` are taken; a float is a share in [0, 1],
            rounded to the nearest number of rows.
        n: number of rows.

    >>> how_many(0.5, 11), how_many(3, 11)
    (6, 3)
    """
    return min(wanted, n) if isinstance(wanted, int) else int(wanted * n + 0.5)


def read_members(path: Path, *, rows: int) -> Ids:
    """Read the indices of members from a file and return them in rising order.

    Args:
        path: `.npy` with one dimension of integers, or text with one index in each line.
        rows: number of rows of the source.

    Raises:
        DataError: when the file cannot be read, or its indices are out of range, repeated, none at
            all, or all rows.
    """
    check_file(path)
    indices = _read_npy(path) if path.suffix == ".npy" else _read_text(path)
    problem = ""
    outside = indices[(indices < 0) | (indices >= rows)]
    unique, counts = np.unique(indices, return_counts=True)
    if len(indices) == 0:
        problem = "lists no rows; expected the index of every row the weights were trained on"
    elif len(outside):
        problem = (
            f"{len(outside)} indices are out of range ({first(outside)}); the source has rows "
            f"0 to {rows - 1}"
        )
    elif len(unique) < len(indices):
        twice = unique[counts > 1]
        problem = f"{len(twice)} rows are listed more than once ({first(twice)}); list each once"
    elif len(unique) == rows:
        problem = (
            f"lists all {rows} rows ({first(unique)}, …), so no non-members are left to judge "
            "with; add rows the weights were not trained on"
        )
    if problem:
        raise DataError(f"{path}: {problem}.")
    return unique


def _read_npy(path: Path) -> Ids:
    try:
        # A memory map checks the declared size against the file instead of allocating it.
        values: Any = np.load(path, allow_pickle=False, mmap_mode="r")
    except (
        ValueError,
        OSError,
        EOFError,
        OverflowError,
        SyntaxError,
        tokenize.TokenError,
    ) as error:
        raise DataError(
            f"{path}: not a readable .npy of integers ({error}); pickled objects are never read."
        ) from error
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        shape, dtype = getattr(values, "shape", "?"), str(getattr(values, "dtype", "?"))
        hint = ": np.flatnonzero(mask) turns a mask into indices" if dtype == "bool" else ""
        raise DataError(
            f"{path}: shape {shape} of {dtype}; expected one dimension of integers{hint}."
        )
    limit = np.iinfo(np.int64).max
    return np.asarray(np.minimum(values, limit) if values.dtype == np.uint64 else values, np.int64)


def _read_text(path: Path) -> Ids:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as UTF-8 text ({error}).") from error
    indices = []
    for number, line in enumerate(text.splitlines(), start=1):
        cell = line.strip()
        if not cell:
            continue
        digits = cell.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise DataError(f"{path}, line {number}: '{cell[:60]}' is no row index; one per line.")
        indices.append(int(cell))
    return np.array(indices, dtype=np.int64)
