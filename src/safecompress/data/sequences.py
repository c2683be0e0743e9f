"""`are_sequences` and `padded`: rows of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from safecompress.data.raw import Array
from safecompress.errors import DataError


def are_sequences(x: Any) -> bool:
    """Return whether inputs are a list of arrays that differ in length.

    Args:
        x: any inputs.
    """
    if not isinstance(x, list) or not x:
        return False
    if not all(isinstance(row, np.ndarray | Tensor | list) for row in x):
        return False
    return len({len(row) for row in x}) > 1


def padded(parts: Sequence[Any], *, where: str) -> list[Array]:
    """Fill up the rows of all parts with zeros at their end, to the longest row of any part.

    Rows of whole numbers, such as token ids, stay whole numbers, int64; others become float32.

    Args:
        parts: per part a list of rows, (length, ...) each; all but the length is the same in all.
        where: the rows' name in messages.

    Returns:
        One array (rows, longest, ...) for each part.

    Raises:
        DataError: on rows that are no numbers, empty, or differ beyond their length.
    """
    rows = [[_row(row, i, where) for i, row in enumerate(part)] for part in parts]
    together = [row for part in rows for row in part]
    rest = together[0].shape[1:]
    for i, row in enumerate(together):
        if row.shape[1:] != rest:
            raise DataError(
                f"{where}: row {i} has shape {row.shape}, row 0 {together[0].shape}; expected rows "
                "that differ in their length alone."
            )
    whole = all(row.dtype.kind in "biu" for row in together)
    longest = max(len(row) for row in together)
    filled = []
    for part in rows:
        out = np.zeros((len(part), longest, *rest), dtype=np.int64 if whole else np.float32)
        for place, row in enumerate(part):
            out[place, : len(row)] = row
        filled.append(out)
    return filled


def _row(row: Any, place: int, where: str) -> Array:
    try:
        values = row.detach().cpu().numpy() if isinstance(row, Tensor) else np.asarray(row)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: row {place} is no array of numbers ({error}).") from error
    if values.dtype.kind not in "biuf" or not values.ndim or not len(values):
        raise DataError(
            f"{where}: row {place} has shape {values.shape} of {values.dtype}; expected at least "
            "one number or vector."
        )
    return values
