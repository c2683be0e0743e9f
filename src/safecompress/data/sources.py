"""From a source's configuration to raw rows."""

from __future__ import annotations

from typing import assert_never

from safecompress.config import CsvSource, NpzSource, SklearnSource, Source, TorchSource
from safecompress.data.csv_source import load_csv
from safecompress.data.npz_source import load_npz
from safecompress.data.raw import RawData
from safecompress.data.sklearn_source import load_sklearn
from safecompress.data.torch_source import load_torch


def load_source(source: Source, *, seed: int | None = None) -> RawData:
    """Read a source.

    Args:
        source: where the rows are.
        seed: for sources that generate rows; files do not need it.

    Raises:
        DataError: when the rows cannot be used.
        ConfigError: when the source's settings cannot work.
    """
    match source:
        case NpzSource():
            return load_npz(source)
        case CsvSource():
            return load_csv(source)
        case SklearnSource():
            return load_sklearn(source, seed=seed)
        case TorchSource():
            return load_torch(source, seed=seed)
        case _:
            assert_never(source)
