"""`load_source`: the raw rows of a configured data source."""

from __future__ import annotations

from safecompress.config import Source

# Importing these modules registers the built-in sources, in the order in which they are listed.
from safecompress.data import npz_source as _npz  # isort: skip
from safecompress.data import npy_source as _npy  # isort: skip
from safecompress.data import image_source as _images  # isort: skip
from safecompress.data import csv_source as _csv  # isort: skip
from safecompress.data import jsonl_source as _jsonl  # isort: skip
from safecompress.data import arrow_source as _arrow  # isort: skip
from safecompress.data import sklearn_source as _sklearn  # isort: skip
from safecompress.data import torch_source as _torch  # isort: skip
from safecompress.data.raw import RawData, faults_of
from safecompress.data.registry import SOURCES
from safecompress.errors import FOREIGN, DataError, SafeCompressError

del _npz, _npy, _images, _csv, _jsonl, _arrow, _sklearn, _torch


def load_source(source: Source, *, seed: int | None = None) -> RawData:
    """Build a source and read its rows.

    Args:
        source: name and options of the source.
        seed: seed for sources that generate rows; files do not need it.

    Raises:
        DataError: when the rows cannot be used, or a published source fails.
        ConfigError: when there is no such source, or its settings cannot work.
    """
    built = SOURCES.build({source.source: source.part_options}, where="data.source")
    try:
        raw = built.load(seed=seed)
    except SafeCompressError:
        raise
    except FOREIGN as error:
        raise DataError(
            f"data source {source.source}: loading raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(raw, RawData):
        raise DataError(
            f"data source {source.source}: load returned a {type(raw).__name__}; expected RawData, "
            "as safecompress.data.raw_from_arrays makes it."
        )
    for column in raw.columns if isinstance(raw.columns, tuple) else ():
        for fault in faults_of(column):
            raise DataError(f"data source {source.source}: {fault}.")
    return raw
