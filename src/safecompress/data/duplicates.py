"""`content_of_raw`, `content_of_inputs`, `repeated` and `check_disjoint`: exact duplicates.

Two rows are duplicates when their inputs are equal, whatever their labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safecompress.data.equal_rows import Ids, first_equal
from safecompress.data.raw import Array, RawData, first
from safecompress.data.text import cut
from safecompress.errors import SplitOverlapError
from safecompress.protocols import Inputs, tensors_of


def content_of_raw(raw: RawData, *, max_words: int | None) -> Ids:
    """Return for each row the index of the first row with the same inputs, int64 (n,).

    Inputs are compared before preprocessing, but texts after they are cut to `max_words`, because
    a model cannot tell apart two texts that differ only after the cut.

    Args:
        raw: all rows of a source.
        max_words: number of words after which texts are cut; None for whole texts.
    """
    if not isinstance(raw.columns, tuple):
        return first_equal([[raw.columns]])
    parts: list[Iterable[bytes]] = []
    for column in raw.columns:
        if column.kind == "numeric":
            parts.append(_array_bytes(column.values.astype(np.float64)))
        elif column.kind == "text":
            parts.append(_text_bytes(cut(str(v), max_words) for v in column.values))
        else:
            parts.append(_text_bytes(str(v) for v in column.values))
    return _first_equal(b"".join(row) for row in zip(*parts, strict=True))


def content_of_inputs(inputs: Iterable[Inputs]) -> list[Ids]:
    """Return for each row of several groups a number that is the same for equal inputs.

    Args:
        inputs: per group its model-ready inputs, of the same structure in all groups.

    Returns:
        One int64 array per group; equal numbers, within or across groups, mean equal inputs.
    """
    groups = [[_as_array(t) for t in tensors_of(group)] for group in inputs]
    cuts = np.cumsum([len(columns[0]) for columns in groups])[:-1]
    return np.split(first_equal(groups), cuts)


def check_disjoint(groups: Mapping[str, tuple[Ids, Ids]], *, what: str, remedy: str) -> None:
    """Check that no two groups share a key.

    Args:
        groups: per group the keys of its rows and their ids, each int64 (n,).
        what: what two rows with the same key have in common, for the message.
        remedy: what to do about it, for the message.

    Raises:
        SplitOverlapError: when two groups share a key; the message names both, how many rows of the
            first are also in the second, and the first of them.
    """
    names = list(groups)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            keys, ids = groups[name]
            shared = np.isin(keys, groups[other][0])
            if shared.any():
                rows = np.sort(ids[shared])
                raise SplitOverlapError(
                    f"{name} and {other} share {len(rows)} rows{what} ({first(rows)}); {remedy}"
                )


def repeated(content: Ids) -> NDArray[np.bool_]:
    """Return which rows have the content of an earlier row, bool (n,).

    Args:
        content: int64 (n,); equal numbers mean equal inputs.
    """
    _, firsts = np.unique(content, return_index=True)
    again = np.ones(len(content), dtype=bool)
    again[firsts] = False
    return again


def _array_bytes(x: Array) -> Iterator[bytes]:
    # Adding zero turns -0.0 into 0.0: they are equal as numbers and must be as bytes.
    return (row.tobytes() for row in (x + 0 if x.dtype.kind == "f" else x))


def _text_bytes(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        # With the length in front, the joined bytes of ("a", "bc") and ("ab", "c") differ.
        yield len(data).to_bytes(8, "big") + data


def _as_array(tensor: Tensor) -> Array:
    plain = tensor.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _first_equal(rows: Iterable[bytes]) -> Ids:
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(row, i) for i, row in enumerate(rows)], dtype=np.int64)
