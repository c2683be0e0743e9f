"""`Cells`, `TextCells`: the cells of one column of a file, as texts and as numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from safecompress.data.raw import Array

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Cells that stand for a missing number, in lower case."""


class Cells(ABC):
    """The cells of one column."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    @abstractmethod
    def texts(self) -> Array:
        """The cells as text, object (n,); an empty one for a missing value."""

    @property
    @abstractmethod
    def numbers(self) -> NDArray[np.float64] | None:
        """The cells as numbers, (n,), NaN where one is missing; None where one is no number.

        An infinite one is a number here; who wants finite ones refuses it.
        """


class TextCells(Cells):
    """Cells that are held as texts.

    Args:
        texts: (n,), an empty one for a missing value.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = np.empty(len(texts), dtype=object)
        self._texts[:] = texts

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def texts(self) -> Array:
        """The cells as they were given."""
        return self._texts

    @cached_property
    def numbers(self) -> NDArray[np.float64] | None:
        """The numbers that Python reads in the cells."""
        return numbers_of(self._texts)


def numbers_of(texts: Array) -> NDArray[np.float64] | None:
    """Return cells as numbers, NaN where one is missing; None where one is no number.

    Args:
        texts: object (n,).
    """
    values = np.empty(len(texts), dtype=np.float64)
    for row, cell in enumerate(texts):
        value = number(cell)
        if value is None:
            return None
        values[row] = value
    return values


def number(cell: str) -> float | None:
    """Return the number that a cell holds, NaN where it is missing, None where it is no number.

    Args:
        cell: a text.
    """
    # float() accepts 1_000 as a number, which other readers of CSV take for text.
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return float("nan") if cell.strip().lower() in MISSING else None
