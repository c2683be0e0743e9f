"""`violations`: the rules that every data source must keep to, also one that a package publishes.

>>> from safecompress.data import SOURCES
>>> violations(SOURCES.build({"sklearn": {"name": "iris"}}, where="example"))
()
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from safecompress.data.raw import RawData, check_array
from safecompress.data.source import DataSource
from safecompress.errors import DataError
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    holds_only_its_options,
    other_global_generators,
)


def violations(source: DataSource, *, seed: int = 0) -> tuple[str, ...]:
    """Return the rules that a data source breaks, in words; empty when it keeps to all of them.

    A source is frozen. It returns `RawData` of finite numbers, with a name for every label and, if
    there is a test part, its first row among the rows. The same seed gives the same rows in the
    same order, whatever the state of global generators. Every call returns new arrays, so that a
    caller may change them.

    Args:
        source: a source with few rows; it is loaded about six times.
        seed: seed that is passed to `load`.
    """
    return broken(
        source,
        (_is_frozen, _returns_sound_rows, _follows_the_seed, _hands_out_rows_of_its_own),
        seed=seed,
    )


def _is_frozen(source: DataSource, seed: int) -> Iterator[str]:
    if is_dataclass(source) or not getattr(type(source), "model_config", {}).get("frozen"):
        yield from holds_only_its_options(source, seed)


def _returns_sound_rows(source: DataSource, seed: int) -> Iterator[str]:
    raw: Any = source.load(seed=seed)
    if not isinstance(raw, RawData):
        yield (
            f"load returned a {type(raw).__name__}; expected RawData, as "
            "safecompress.data.raw_from_arrays makes it"
        )
        return
    n = len(raw)
    if not 0 <= int(raw.labels.min()) <= int(raw.labels.max()) < raw.classes:
        yield (
            f"labels run from {raw.labels.min()} to {raw.labels.max()}, and label_names has "
            f"{raw.classes} names; expected a name for every label from 0"
        )
    if raw.test_from is not None and not 0 < raw.test_from < n:
        yield f"test_from is {raw.test_from} of {n} rows; expected one of the rows after the first"
    if isinstance(raw.columns, tuple):
        names = [column.name for column in raw.columns]
        if len(set(names)) < len(names):
            yield f"columns are called {names}; expected another name for each"
        return
    try:
        check_array(raw.columns, where="its inputs")
    except DataError as error:
        yield str(error)


def _follows_the_seed(source: DataSource, seed: int) -> Iterator[str]:
    with other_global_generators():
        # The generators are in a state that no earlier call can have left, so a source that seeds
        # them is noticed.
        before = global_generators()
        first = _content(source, seed)
        left_alone = global_generators() == before
        if first != _content(source, seed):
            yield "the same seed gives other rows, or another order, the second time"
            return
    if not left_alone or first != _content(source, seed):
        yield GLOBAL_DRAW


def _hands_out_rows_of_its_own(source: DataSource, seed: int) -> Iterator[str]:
    content = _content(source, seed)
    raw = source.load(seed=seed)
    tables = [c.values for c in raw.columns] if isinstance(raw.columns, tuple) else [raw.columns]
    for array in (*tables, raw.labels):
        if array.flags.writeable:
            array[...] = array[::-1].copy()
    if _content(source, seed) != content:
        yield "what a caller does to the rows of one call changes those of the next; copy them"


def _content(source: DataSource, seed: int) -> tuple[Any, ...]:
    """Return the content of a source's rows as values that can be compared."""
    raw = source.load(seed=seed)
    if isinstance(raw.columns, tuple):
        inputs: Any = tuple((c.name, c.kind, _bytes(c.values)) for c in raw.columns)
    else:
        inputs = _bytes(raw.columns)
    return inputs, _bytes(raw.labels), raw.label_names, raw.test_from


def _bytes(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    values = tuple(array.tolist()) if array.dtype == object else array.tobytes()
    return array.shape, str(array.dtype), values
