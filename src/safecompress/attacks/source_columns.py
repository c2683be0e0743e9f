"""`source_columns`: raw rows as columns of numbers, by rules that are the same for all rows."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.protocols import SourceRows

_WORDS, _PIECES = 2048, 1024
"""Number of columns into which words, and runs of three characters, are hashed."""

_LONGEST = 2000
"""Number of characters of a text that are read."""

_WORD = re.compile(r"\w+|[^\w\s]")


def source_columns(rows: SourceRows, known: Tensor) -> list[Tensor]:
    """Return the numbers and the texts of rows as columns, float32 (n, width) each.

    Numbers are standardized and get a column that tells where a value is missing. Texts are counted
    by word and by runs of three characters, which find words in scripts without blanks; both are
    hashed, so that no vocabulary has to be learned.

    Args:
        rows: n rows of all groups.
        known: bool (n,), the rows whose means and deviations standardize the numbers.
    """
    parts = []
    if rows.numbers.shape[1]:
        parts.append(_numbers(rows.numbers, known))
    if rows.texts.shape[1]:
        parts += [_counts(rows.texts, _WORDS, _words), _counts(rows.texts, _PIECES, _pieces)]
    return parts


def _numbers(x: Tensor, known: Tensor) -> Tensor:
    missing = torch.isnan(x)
    fit = x[known]
    mean = fit.nanmean(dim=0).nan_to_num()
    filled = torch.where(missing, mean, x)
    # Standardized in float64, because float32 has too few digits for dates and identifiers.
    scale = filled[known].std(dim=0, correction=0)
    standard = (filled - mean) / torch.where(scale > 0, scale, 1.0)
    return torch.cat([standard, missing[:, missing.any(dim=0)].double()], dim=1).float()


def _counts(
    texts: NDArray[np.object_], width: int, hashes: Callable[[str, int], NDArray[np.int64]]
) -> Tensor:
    """Return how often the texts of each row have each hash, log(1 + count), float32 (n, width)."""
    counts = np.zeros((len(texts), width), dtype=np.float32)
    for row, cells in enumerate(texts):
        for column, cell in enumerate(cells):
            places = hashes(str(cell)[:_LONGEST], column) % width
            np.add.at(counts[row], places, 1.0)
    return torch.from_numpy(np.log1p(counts))


def _words(text: str, column: int) -> NDArray[np.int64]:
    """Return a hash of each word; equal words of different columns have different hashes."""
    # An empty cell is a value, too.
    words = _WORD.findall(text) or [""]
    return np.array(
        [zlib.crc32(f"{column} {word}".encode("utf-8", "surrogatepass")) for word in words]
    )


def _pieces(text: str, column: int) -> NDArray[np.int64]:
    """Return a hash of each run of three characters."""
    raw = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    points = np.pad(raw, (0, max(0, 3 - len(raw))))
    return ((points[:-2] * 8191 + points[1:-1]) * 8191 + points[2:]) * 127 + column * 7919
