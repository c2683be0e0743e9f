"""`group_column` and `values_of`: values such as regions and ages as groups of rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from safecompress.data.raw import Array
from safecompress.errors import DataError
from safecompress.protocols import GroupColumn, Pool

MOST_VALUES = 20
"""Most distinct numbers that are groups of their own; columns of more are cut at their quartiles.

Whole numbers and fractions are treated alike, because an age or an income may be either.
"""
_UNKNOWN = "unknown"
"""Name of the group of rows whose value is missing."""


def group_column(values: Pool[Array]) -> Pool[GroupColumn]:
    """Return the group of each row.

    Args:
        values: (n,) of each side; numbers with more than 20 distinct values are cut at the
            quartiles of both sides together, any other value is a group of its own.

    >>> ages = Pool(np.arange(30.0), np.arange(30.0, 60.0))
    >>> group_column(ages).members.names
    ('up to 14.75', '14.75 to 29.5', '29.5 to 44.25', 'above 44.25')
    >>> group_column(Pool(np.array(["north", "south"]), np.array(["south"]))).nonmembers.codes
    tensor([1])
    """
    both = np.concatenate([values.members, values.nonmembers])
    codes, names = _bands(both) if both.dtype.kind in "iuf" else _categories(both)
    tensor, first = torch.from_numpy(codes), len(values.members)
    return Pool(GroupColumn(tensor[:first], names), GroupColumn(tensor[first:], names))


def _bands(values: Array) -> tuple[Array, tuple[str, ...]]:
    numbers = values.astype(np.float64)
    known = np.isfinite(numbers)
    distinct = np.unique(numbers[known])
    if len(distinct) <= MOST_VALUES:
        return _categories(np.array([f"{x:.12g}" if np.isfinite(x) else "" for x in numbers]))
    edges = np.unique(np.quantile(numbers[known], [0.25, 0.5, 0.75]))
    # Where most rows have the largest value, the rows below it are the one other group.
    below = edges[edges < distinct[-1]]
    edges = below if len(below) else distinct[-2:-1]
    texts = [f"{edge:.4g}" for edge in edges]
    names = [f"up to {texts[0]}"]
    names += [f"{a} to {b}" for a, b in pairwise(texts)]
    names += [f"above {texts[-1]}"]
    codes = np.searchsorted(edges, numbers, side="left")
    if not known.all():
        codes[~known] = len(names)
        names.append(_UNKNOWN)
    return codes.astype(np.int64), tuple(names)


def _categories(values: Array) -> tuple[Array, tuple[str, ...]]:
    texts = np.array([_UNKNOWN if _missing(v) else str(v).strip() for v in values])
    names, codes = np.unique(texts, return_inverse=True)
    return codes.astype(np.int64), tuple(map(str, names))


def _missing(value: Any) -> bool:
    try:
        differs = bool(value != value)  # noqa: PLR0124 - so does NaN
        return value is None or differs or not str(value).strip()
    except TypeError:  # the missing value of pandas is neither equal to itself nor unequal
        return True


def values_of(given: Any, where: str) -> Array:
    """Return values of groups as an array (n,) of numbers or objects.

    Args:
        given: a tensor, an array, a list or a column of a data frame.
        where: their name in messages.

    Raises:
        DataError: when they are no single numbers, texts or yes/no for each row.
    """
    array = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given)
    if array.ndim != 1:
        raise DataError(f"{where} has shape {array.shape}; expected (n,), one value for each row.")
    if array.dtype.kind == "O" and {type(v) for v in array} <= {int, float}:
        return array.astype(np.float64)
    if array.dtype.kind not in "biufUSO":
        raise DataError(
            f"{where} is of {array.dtype}; expected numbers, texts or yes/no, one for each row."
        )
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    return array if array.dtype.kind in "iuf" else array.astype(object)
