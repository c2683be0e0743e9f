"""`first_equal`: which rows are equal, from digests of blocks of rows.

Equality is that of numbers, so that -0.0 equals 0.0, and NaN equals the same NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.data.disk import taken

Ids = NDArray[np.int64]
Words = NDArray[np.uint64]
Columns = Sequence[NDArray[Any]]

_BLOCK = 1 << 23
"""Bytes of rows digested or compared at a time."""


def first_equal(groups: Sequence[Columns]) -> Ids:
    """Return for each row the number of the first row with equal entries in all columns.

    Args:
        groups: per group of rows its columns, arrays (n, …) of numbers, all of one length. Rows are
            numbered through all groups.

    Returns:
        int64 (rows of all groups,).
    """
    lengths = [len(columns[0]) for columns in groups]
    digests = np.concatenate(
        [_digests(words) for columns in groups for words in _blocks(columns)]
        or [np.zeros(0, dtype=np.uint64)]
    )
    _, firsts, ids, sizes = np.unique(
        digests, return_index=True, return_inverse=True, return_counts=True
    )
    first = firsts[ids].astype(np.int64)
    again = np.flatnonzero((sizes[ids] > 1) & (first < np.arange(len(first))))
    if all(
        np.array_equal(_words_at(groups, lengths, first[rows]), _words_at(groups, lengths, rows))
        for rows in _cut(again, groups)
    ):
        return first
    # Two different rows share a digest.
    known: dict[tuple[int, bytes], int] = {}
    rows = ((row.nbytes, row.tobytes()) for c in groups for words in _blocks(c) for row in words)
    return np.array([known.setdefault(row, i) for i, row in enumerate(rows)], dtype=np.int64)


def _row_bytes(columns: Columns) -> int:
    return sum(c.dtype.itemsize * int(np.prod(c.shape[1:])) for c in columns)


def _cut(rows: Ids, groups: Sequence[Columns]) -> list[Ids]:
    """Return positions of rows in blocks whose rows are of about `_BLOCK` bytes together."""
    most = max(1, _BLOCK // max(1, *(_row_bytes(columns) for columns in groups)))
    return np.array_split(rows, -(-len(rows) // most)) if len(rows) else []


def _blocks(columns: Columns) -> Iterator[Words]:
    """Yield the rows of a group as words, a block at a time."""
    rows = max(1, _BLOCK // max(1, _row_bytes(columns)))
    for start in range(0, len(columns[0]), rows):
        yield _words([taken(c, slice(start, start + rows)) for c in columns])


def _words(columns: Columns) -> Words:
    """Return rows as 64-bit words, the last one filled up with zeros, uint64 (n, words)."""
    # Adding zero turns -0.0 into 0.0: they are equal as numbers and must be as bytes.
    flat = [c.reshape(len(c), -1) for c in columns]
    plain = [np.ascontiguousarray(c + 0 if c.dtype.kind == "f" else c) for c in flat]
    width = sum(c.dtype.itemsize * c.shape[1] for c in plain)
    words = np.zeros((len(plain[0]), -(-width // 8)), dtype=np.uint64)
    place = 0
    for c in plain:
        size = c.dtype.itemsize * c.shape[1]
        words.view(np.uint8)[:, place : place + size] = c.view(np.uint8).reshape(len(c), size)
        place += size
    return words


def _words_at(groups: Sequence[Columns], lengths: Sequence[int], rows: Ids) -> Words:
    """Return some rows as words, in the order of `rows`; shorter rows are filled up with zeros."""
    starts = np.cumsum([0, *lengths])
    width = max(-(-_row_bytes(columns) // 8) for columns in groups)
    words = np.zeros((len(rows), width), dtype=np.uint64)
    for start, length, columns in zip(starts[:-1], lengths, groups, strict=True):
        inside = (rows >= start) & (rows < start + length)
        if inside.any():
            own = _words([taken(c, rows[inside] - start) for c in columns])
            words[inside, : own.shape[1]] = own
    return words


def _digests(words: Words) -> Words:
    """Return a number per row that differs for different rows, but for an accident in 2**60."""
    random = np.random.Generator(np.random.Philox(key=0))
    factors = random.integers(2**63, size=words.shape[1:], dtype=np.uint64) * np.uint64(2)
    digests: Words = np.full(len(words), words.shape[1], dtype=np.uint64)
    for column in range(words.shape[1]):
        np.bitwise_xor(digests, words[:, column], out=digests)
        np.multiply(digests, factors[column] + np.uint64(1), out=digests)
        np.bitwise_xor(digests, digests >> np.uint64(29), out=digests)
    return digests
