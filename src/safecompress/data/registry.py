"""`SOURCES`: the data sources that a configuration can name, each registered below its class."""

from __future__ import annotations

from safecompress.data.source import DataSource
from safecompress.registry import Registry

SOURCES: Registry[DataSource] = Registry(
    "data source",
    "safecompress.sources",
    DataSource,
    # The key that names the source in a configuration.
    given=("source",),
)
