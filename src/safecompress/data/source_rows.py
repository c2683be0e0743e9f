"""`source_rows`: rows of a table as its source has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safecompress.data.raw import RawData
from safecompress.protocols import SourceRows


def source_rows(raw: RawData, index: NDArray[np.int64]) -> SourceRows | None:
    """Return rows of a table without anything that was learned from members.

    Args:
        raw: the source's rows.
        index: int64, indices of the rows.

    Returns:
        The rows; None for an array of numbers, whose preprocessing treats all rows by one and the
        same affine map and so tells no more of them than the array.
    """
    if not isinstance(raw.columns, tuple):
        return None
    numbers = [c.values[index] for c in raw.columns if c.kind == "numeric"]
    texts = [c.values[index] for c in raw.columns if c.kind != "numeric"]
    empty: NDArray[Any] = np.empty((len(index), 0))
    return SourceRows(
        torch.from_numpy(np.stack(numbers, axis=1) if numbers else empty),
        np.stack(texts, axis=1) if texts else empty.astype(object),
    )
