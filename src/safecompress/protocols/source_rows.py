"""`SourceRows`: rows as their source has them, before any vocabulary or scaling was applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.errors import DataError


@dataclass(frozen=True)
class SourceRows:
    """Rows of a table or of texts, as they were before anything was learned from members.

    What is learned from members treats members otherwise than other rows: a vocabulary knows all of
    their words, and not all words of the others. Whether two groups of rows differ by themselves
    can therefore only be asked of rows like these.

    Args:
        numbers: float64 (n, k), NaN where a value is missing; k may be 0.
        texts: object array (n, m) of strings, texts and categories; m may be 0.

    Raises:
        DataError: when the two have different numbers of rows.
    """

    numbers: Tensor
    texts: NDArray[Any]

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.texts):
            raise DataError(
                f"source rows: {len(self.numbers)} rows of numbers, {len(self.texts)} of texts; "
                "expected the same rows in both."
            )

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of_texts(cls, columns: list[list[str]]) -> SourceRows:
        """Return rows that consist of texts only.

        Args:
            columns: at least one list of texts, each of the same length.
        """
        texts = np.empty((len(columns[0]), len(columns)), dtype=object)
        for place, column in enumerate(columns):
            texts[:, place] = column
        return cls(torch.zeros(len(texts), 0, dtype=torch.float64), texts)

    def take(self, index: Tensor) -> SourceRows:
        """Return some of the rows.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        return SourceRows(self.numbers[index], self.texts[index.numpy()])

    def between(self, begin: int, end: int) -> SourceRows:
        """Return consecutive rows as views, without a copy.

        Args:
            begin: position of the first row.
            end: position after the last row.
        """
        return SourceRows(self.numbers[begin:end], self.texts[begin:end])
