"""`near_clusters`: rows that are equal but for the last digits.

The same row computed in another batch, on another machine or in another number format differs in
its last digits, so equal bytes are too strict a test of two rows being the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Numbers = NDArray[np.floating]
Ids = NDArray[np.int64]

_NEIGHBORS = 16
"""Rows that each row is compared with, in the order of a projection; more rows this close form a
dense set, in which neighbors are near each other, too."""
_BLOCK = 1 << 22
"""Entries compared at a time, 32 MB."""


def near_clusters(
    values: Numbers, exact: Ids, allowed: NDArray[np.float64], *, once: Ids, directions: int = 1
) -> Ids:
    """Return a number per row, equal for rows that are near, directly or through other rows.

    Args:
        values: float32 or float64 (n, d), finite.
        exact: int64 (n,), a number per row; rows are near only if these are equal, too.
        allowed: (n, 1) or (1, d), the largest difference of an entry of two near rows.
        once: `first_equal([[values, exact]])`, which several calls may share.
        directions: number of projections; more of them find more pairs where rows stand close.

    Returns:
        int64 (n,), equal within a cluster.
    """
    _, firsts, which = np.unique(once, return_index=True, return_inverse=True)
    by_row = allowed.shape[0] > 1
    distinct, exact = values[firsts], exact[firsts]
    allowed = allowed[firsts] if by_row else allowed
    positions, reach = _projected(distinct, allowed, directions)
    cluster: Ids = np.arange(len(distinct))
    for along in positions:
        order = np.lexsort((along, exact))
        for offset in range(1, min(_NEIGHBORS, len(order) - 1) + 1):
            a, b = order[:-offset], order[offset:]
            same = exact[a] == exact[b]
            a, b = _close(along, a[same], b[same], reach)
            if not len(a):
                break
            for position in positions:
                if position is not along:
                    a, b = _close(position, a, b, reach)
            if len(a):
                cluster = _joined(cluster, *_near(distinct, a, b, allowed))
    return cluster[which]


def _close(
    position: NDArray[np.float64], a: Ids, b: Ids, reach: NDArray[np.float64]
) -> tuple[Ids, Ids]:
    """Return those of the pairs (a, b) of rows that are near along a direction."""
    close = np.abs(position[a] - position[b]) <= np.maximum(reach[a], reach[b])
    return a[close], b[close]


def _projected(
    values: Numbers, allowed: NDArray[np.float64], directions: int
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return each row's position along some directions, and by how much near rows differ there."""
    n, width = values.shape
    # Each column is measured in its allowed difference, or columns of large numbers would drown
    # what tells rows apart in the others.
    unit = np.where(allowed > 0, allowed, 1.0) if allowed.shape[0] == 1 else np.ones((1, width))
    weights = np.stack([np.random.default_rng(d).normal(size=width) for d in range(directions)])
    weights /= np.maximum(np.abs(weights).sum(axis=1, keepdims=True), 1e-300)
    blocks = np.array_split(values, max(1, values.size // _BLOCK))
    positions = np.concatenate([(block / unit) @ weights.T for block in blocks])
    reach = np.broadcast_to((allowed / unit).max(axis=1, initial=0.0), (n,))
    return [np.ascontiguousarray(column) for column in positions.T], reach


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


def _joined(cluster: Ids, a: Ids, b: Ids) -> Ids:
    """Return each row's cluster after those of the pairs (a, b) are merged."""
    n = len(cluster)
    pairs = coo_array((np.ones(len(a), dtype=bool), (cluster[a], cluster[b])), shape=(n, n))
    merged: Ids = connected_components(pairs, directed=False)[1].astype(np.int64)
    return merged[cluster]
