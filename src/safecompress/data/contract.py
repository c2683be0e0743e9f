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

from safecompress.data.file_contract import reads_files_with_care
from safecompress.data.raw import RawData, check_array, faults_of
from safecompress.data.source import DataSource
from safecompress.errors import DataError, UsageError
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    broken,
    global_generators,
    holds_only_its_options,
    other_global_generators,
)


def violations(source: DataSource, *, seed: int = 0) -> tuple[str, ...]:
    """Return the rules that a data source breaks, in words; empty when it keeps to all of them.

    A source is frozen. It returns `RawData` of finite numbers, with one label for every row, a name
    for every label and, if there is a test part, its first row among the rows. The same seed gives
    the same rows in the same order, whatever the state of global generators; another seed gives the
    same columns and parts. Every call returns new arrays, so that a caller may change them. Without
    a seed, and for a missing, empty or damaged file, a source may raise a `UsageError`, which names
    the file. It never runs code that is pickled in a file.

    Args:
        source: a source with few rows; it is loaded about ten times, and about eight times more for
            every option that names a file.
        seed: seed that is passed to `load`.
    """
    rules = (
        _is_frozen,
        _returns_sound_rows,
        _follows_the_seed,
        _has_the_same_columns_for_every_seed,
        _hands_out_rows_of_its_own,
        reads_files_with_care,
    )
    return broken(source, rules, seed=seed)


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
    yield from _label_faults(raw)
    n = len(raw)
    if raw.test_from is not None and not 0 < raw.test_from < n:
        yield f"test_from is {raw.test_from} of {n} rows; expected one of the rows after the first"
    if isinstance(raw.columns, tuple):
        names = [column.name for column in raw.columns]
        if len(set(names)) < len(names):
            yield f"columns are called {names}; expected another name for each"
        for column in raw.columns:
            yield from faults_of(column)
        return
    try:
        check_array(raw.columns, where="its inputs")
    except DataError as error:
        yield str(error)


def _label_faults(raw: RawData) -> Iterator[str]:
    labels = raw.labels
    if labels.dtype != np.int64 or labels.ndim != 1:
        yield f"labels are {labels.dtype} {labels.shape}; expected int64 (n,), one label a row"
        return
    if not 0 <= int(labels.min()) <= int(labels.max()) < raw.classes:
        yield (
            f"labels run from {labels.min()} to {labels.max()}, and label_names has "
            f"{raw.classes} names; expected a name for every label from 0"
        )


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


def _has_the_same_columns_for_every_seed(source: DataSource, seed: int) -> Iterator[str]:
    first, other = (_shape(source.load(seed=s)) for s in (seed, seed + 1))
    if first != other:
        yield f"with another seed its rows are {other}, and not {first}; let options decide that"
    try:
        unseeded = _shape(source.load(seed=None))
    except UsageError:
        return
    if unseeded != first:
        yield f"without a seed its rows are {unseeded}, and not {first}"


def _shape(raw: RawData) -> str:
    """Return what every row of a source is, and whether there is a test part, in words."""
    if isinstance(raw.columns, tuple):
        inputs = ", ".join(f"{column.name} ({column.kind})" for column in raw.columns)
    else:
        inputs = f"{raw.columns.dtype} {raw.columns.shape[1:]}"
    return f"{inputs} {'without' if raw.test_from is None else 'with'} a test part"


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
