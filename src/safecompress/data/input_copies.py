"""`input_clusters`: which rows of two groups have the same inputs, but for the last digits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from safecompress.data.duplicates import content_of_inputs
from safecompress.data.near import Ids, near_clusters
from safecompress.protocols import Inputs, Pool, tensors_of

_NEAR = 1e-6
"""Difference of two inputs, in standard deviations of their column, up to which they are equal."""
_MOST_ENTRIES = 1 << 28
"""Most floating-point inputs that are compared with a tolerance, 1 GiB; others exactly."""
_WIDER = 10.0
"""Factor by which the tolerance is widened to learn whether rows are near by chance."""


def input_clusters(inputs: Pool[Inputs]) -> tuple[Ids, Ids]:
    """Return a number per row, equal for rows with equal inputs, int64 (m,) and (n,).

    Floating-point inputs may differ by a millionth of their column's standard deviation. Where many
    more rows would be equal at ten times that, as of a single column of many rows, rows are near by
    chance, and only exact equality counts.

    Args:
        inputs: those of members and of non-members, of the same structure.
    """
    both = (inputs.members, inputs.nonmembers)
    first, second = content_of_inputs(both)
    exact, cut = np.concatenate([first, second]), [len(first)]
    pairs = zip(tensors_of(both[0]), tensors_of(both[1]), strict=True)
    columns = [_matrix(a, b) for a, b in pairs if a.is_floating_point()]
    if not columns or sum(c.size for c in columns) > _MOST_ENTRIES:
        return first, second
    values = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    if not values.size or not np.isfinite(values).all():
        return first, second
    others = _other_inputs(both)
    large = np.abs(values).max(axis=0)
    allowed = np.maximum(
        _NEAR * values.std(axis=0, dtype=np.float64), 2 * np.finfo(values.dtype).eps * large
    )[None]
    near, wide = (
        near_clusters(values, others, times * allowed, once=exact) for times in (1.0, _WIDER)
    )
    distinct = [len(np.unique(clusters)) for clusters in (exact, near, wide)]
    if distinct[0] - distinct[2] > 2 * (distinct[0] - distinct[1]):
        return first, second
    members, nonmembers = np.split(near, cut)
    return members, nonmembers


def _matrix(first: Tensor, second: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.floating]]:
    rows = [t.detach().cpu().reshape(len(t), -1) for t in (first, second)]
    wide = torch.float64 if torch.float64 in {t.dtype for t in rows} else torch.float32
    return np.concatenate([t.to(wide).numpy() for t in rows])


def _other_inputs(both: tuple[Inputs, Inputs]) -> Ids:
    """Return a number per row, equal for rows whose other inputs, such as tokens, are equal."""
    rest = [tuple(t for t in tensors_of(part) if not t.is_floating_point()) for part in both]
    if not rest[0]:
        return np.zeros(sum(len(tensors_of(part)[0]) for part in both), dtype=np.int64)
    return np.concatenate(content_of_inputs(rest))
