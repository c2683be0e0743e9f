"""`table_of` and `columns_as_numbers`: rows that are no tensors, for models that take them.

A pipeline of scikit-learn takes data frames, arrays of objects, lists of texts or sparse matrices.
It gets them unchanged, a batch of rows at a time. Controls and attacks that compare rows without
the model read the columns as numbers and tokens instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.data.frames import is_frame
from safecompress.protocols import Inputs, Pool

_WORD = re.compile(r"\w+|[^\w\s]")
_MOST_WORDS = 64
"""Words of a cell that are read one by one; the rest of a longer text counts as one."""
_CATEGORIES = 100
"""Most distinct values of a column whose cells are not taken apart into words."""
_DENSE = 20_000_000
"""Most cells of a sparse matrix that are written out; a larger one is projected."""
_PROJECTED = 256


@dataclass(frozen=True)
class RowTable:
    """Rows of a data frame, a series, a NumPy array of objects, a sparse matrix or a list.

    Args:
        content: the rows as they were given.
    """

    content: Any

    def __len__(self) -> int:
        return int(self.content.shape[0]) if hasattr(self.content, "shape") else len(self.content)

    def take(self, index: Tensor) -> RowTable:
        """Return some of the rows, with their own names and types.

        Args:
            index: int64 positions of the rows, or a bool mask (n,).
        """
        places = index.nonzero().squeeze(1) if index.dtype == torch.bool else index
        at = places.cpu().numpy()
        if hasattr(self.content, "iloc"):
            return RowTable(self.content.iloc[at])
        if isinstance(self.content, list):
            return RowTable([self.content[i] for i in at.tolist()])
        return RowTable(self.content[at])


def table_of(given: Any) -> RowTable | None:
    """Return inputs that are rows of a table, or None where they are tensors or numeric arrays.

    Args:
        given: any inputs.
    """
    if is_frame(given) or is_sparse(given):
        return RowTable(given.tocsr() if is_sparse(given) else given)
    if isinstance(given, np.ndarray) and given.ndim in (1, 2) and given.dtype.kind in "OUSMmT":
        return RowTable(given)
    if isinstance(given, list | tuple) and given and all(isinstance(v, str | dict) for v in given):
        return RowTable(list(given))
    return None


def is_sparse(given: Any) -> bool:
    """Return whether inputs are a sparse matrix of SciPy.

    Args:
        given: any inputs.
    """
    return hasattr(given, "tocsr") and hasattr(given, "nnz")


def columns_of(given: Any) -> dict[str, Any]:
    """Return the columns of a table by name, each (n,); a column without a name gets its number.

    Args:
        given: a data frame, one of its columns, an array (n,) or (n, columns), or a list.
    """
    if isinstance(given, list):
        found = np.empty(len(given), dtype=object)
        found[:] = given
        return {"0": found}
    if len(getattr(given, "shape", (0,))) == 1:
        return {"0": np.asarray(given)}
    if hasattr(given, "iloc"):
        return {f"{i}:{n}": np.asarray(given.iloc[:, i]) for i, n in enumerate(given.columns)}
    if hasattr(given, "get_columns"):
        return {f"{i}:{c.name}": c.to_numpy() for i, c in enumerate(given.get_columns())}
    return {str(i): given[:, i] for i in range(given.shape[1])}


def columns_as_numbers(tables: Pool[RowTable]) -> Pool[Inputs]:
    """Return the columns of both groups as tensors, encoded alike.

    Args:
        tables: members and non-members, with the same columns.

    Returns:
        `numbers`, float32 or float64 (n, k): numbers and dates as they are, missing ones as the
        mean of the column, with a further column that says where they are missing. `tokens`, int64
        (n, length): hashed values of categories, and words of texts; 0 fills up.
    """
    first = len(tables.members)
    if is_sparse(tables.members.content):
        parts = {"numbers": _sparse_numbers(tables)}
    else:
        sides = [columns_of(t.content) for t in (tables.members, tables.nonmembers)]
        numbers, tokens = [], []
        for name, cells in sides[0].items():
            both = np.concatenate([cells, sides[1][name]])
            read = _numbers(both)
            if read is not None:
                numbers += _filled(read)
            else:
                tokens.append(_tokens(both, name))
        parts = {}
        if numbers:
            parts["numbers"] = torch.from_numpy(np.stack(numbers, axis=1))
        if tokens:
            parts["tokens"] = torch.from_numpy(np.concatenate(tokens, axis=1))
    return Pool(
        {name: tensor[:first] for name, tensor in parts.items()},
        {name: tensor[first:] for name, tensor in parts.items()},
    )


def same_columns(tables: Pool[RowTable]) -> bool:
    """Return whether both groups are tables of the same kind with the same columns in order.

    Args:
        tables: members and non-members.
    """
    a, b = tables.members.content, tables.nonmembers.content
    if is_sparse(a) or is_sparse(b):
        return is_sparse(a) and is_sparse(b) and a.shape[1] == b.shape[1]
    return type(a) is type(b) and list(columns_of(a)) == list(columns_of(b))


def _numbers(cells: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return a column as float64 with NaN where it is missing, or None where it is no numbers."""
    if cells.dtype.kind in "mM":
        whole = cells.astype(cells.dtype.str[:2] + "8[us]").astype(np.int64)
        return np.where(np.isnat(cells), np.nan, whole / 1e6)
    if cells.dtype.kind in "biuf":
        return cells.astype(np.float64)
    if cells.dtype.kind != "O":
        return None
    missing = np.array([_is_missing(cell) for cell in cells], dtype=bool)
    if not all(isinstance(cell, Number) for cell in cells[~missing]) or missing.all():
        return None
    values = np.full(len(cells), np.nan)
    values[~missing] = [float(cell) for cell in cells[~missing]]
    return values


def _is_missing(cell: Any) -> bool:
    return (
        cell is None
        or type(cell).__name__ in {"NAType", "NaTType"}
        or (isinstance(cell, float) and np.isnan(cell))
    )


def _filled(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    known = np.isfinite(values)
    if known.all():
        return [values]
    mean = float(values[known].mean()) if known.any() else 0.0
    return [np.where(known, values, mean), (~known).astype(np.float64)]


def _tokens(cells: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return hashed tokens of a column, int64 (n, length), in [1, 2**31), and 0 to fill up."""
    texts = ["" if _is_missing(cell) else str(cell) for cell in cells]
    distinct = set(texts)
    whole = len(distinct) <= min(_CATEGORIES, len(texts) // 2)
    words = {text: [text] if whole else _words(text) for text in distinct}
    table = np.zeros((len(texts), max(1, *(len(w) for w in words.values()))), dtype=np.int64)
    hashed = {text: [_hash(name, word) for word in found] for text, found in words.items()}
    for row, text in enumerate(texts):
        table[row, : len(hashed[text])] = hashed[text]
    return table


def _words(text: str) -> Sequence[str]:
    found = _WORD.findall(text)
    if len(found) <= _MOST_WORDS:
        return found
    return [*found[: _MOST_WORDS - 1], " ".join(found[_MOST_WORDS - 1 :])]


def _hash(name: str, word: str) -> int:
    digest = hashlib.blake2b(f"{name}\0{word}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % (2**31 - 1) + 1


def _sparse_numbers(tables: Pool[RowTable]) -> Tensor:
    width = tables.members.content.shape[1]
    rows = len(tables.members) + len(tables.nonmembers)
    parts = [t.content for t in (tables.members, tables.nonmembers)]
    if rows * width <= _DENSE:
        return torch.from_numpy(np.concatenate([p.toarray() for p in parts]).astype(np.float32))
    signs = np.random.default_rng(0).choice(
        np.array([-1.0, 1.0], np.float32), size=(width, _PROJECTED)
    )
    return torch.from_numpy(np.concatenate([np.asarray(p @ signs) for p in parts]))
