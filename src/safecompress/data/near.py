"""`near_clusters`: rows that are equal but for the last digits.

The same row computed in another batch, or on another machine, differs in its last digits, so equal
bytes are too strict a test of two rows being the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
Ids = NDArray[np.int64]

_NEIGHBORS = 16
"""Rows that each row is compared with, in the order of a projection; more rows this close form a
dense set, in which neighbors are near each other, too."""
_BLOCK = 1 << 22
"""Entries compared at a time, 32 MB."""


def near_clusters(values: Numbers, exact: Ids, allowed: NDArray[np.float64], *, once: Ids) -> Ids:
    """Return a number per row, equal for rows that are near, directly or through other rows.

    Args:
        values: float32 or float64 (n, d), finite.
        exact: int64 (n,), a number per row; rows are near only if these are equal, too.
        allowed: (n, 1) or (1, d), the largest difference of an entry of two near rows.
        once: `first_equal([[values, exact]])`, which several calls may share.

    Returns:
        int64 (n,), equal within a cluster.
    """
    _, firsts, which = np.unique(once, return_index=True, return_inverse=True)
    by_row = allowed.shape[0] > 1
    found = _distinct_near(values[firsts], exact[firsts], allowed[firsts] if by_row else allowed)
    return found[which]


def _distinct_near(values: Numbers, exact: Ids, allowed: NDArray[np.float64]) -> Ids:
    n, width = values.shape
    # Each column is measured in its allowed difference, or columns of large numbers would drown
    # what tells rows apart in the others.
    unit = np.where(allowed > 0, allowed, 1.0) if allowed.shape[0] == 1 else np.ones((1, width))
    weights = np.random.default_rng(0).normal(size=width)
    weights /= max(float(np.abs(weights).sum()), 1e-300)
    blocks = np.array_split(values, max(1, values.size // _BLOCK))
    position = np.concatenate([(block / unit) @ weights for block in blocks])
    reach = np.broadcast_to((allowed / unit).max(axis=1, initial=0.0), (n,))
    order = np.lexsort((position, exact))
    parent = np.arange(n)
    for offset in range(1, min(_NEIGHBORS, n - 1) + 1):
        a, b = order[:-offset], order[offset:]
        close = (exact[a] == exact[b]) & (
            np.abs(position[a] - position[b]) <= np.maximum(reach[a], reach[b])
        )
        a, b = a[close], b[close]
        if not len(a):
            break
        _join(parent, *_near(values, a, b, allowed))
    while True:
        above = parent[parent]
        if np.array_equal(above, parent):
            return parent.astype(np.int64)
        parent = above


def _near(values: Numbers, a: Ids, b: Ids, allowed: Numbers) -> tuple[Ids, Ids]:
    """Return those of the pairs (a, b) of rows of which no entries differ by more than allowed."""
    rows = max(1, _BLOCK // max(1, values.shape[1]))
    kept = []
    for start in range(0, len(a), rows):
        i, j = a[start : start + rows], b[start : start + rows]
        limit = allowed if allowed.shape[0] == 1 else np.maximum(allowed[i], allowed[j])
        kept.append((np.abs(values[i] - values[j]) <= limit).all(axis=1))
    near = np.concatenate(kept)
    return a[near], b[near]


def _join(parent: Ids, a: Ids, b: Ids) -> None:
    """Merge the clusters of the pairs (a, b), in place; a cluster is named by its first row."""

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for i, j in zip(a.tolist(), b.tolist(), strict=True):
        first, second = sorted((root(i), root(j)))
        parent[second] = first
