"""Rows: where they come from, and which are members, which steer a run and which judge it."""

from __future__ import annotations

from safecompress.data.canaries import Canaries, CanaryKind
from safecompress.data.duplicates import content_of_inputs
from safecompress.data.group_columns import (
    GroupsGiven,
    attach_groups,
    columns_named,
    given_groups,
    with_columns,
    with_group_columns,
)
from safecompress.data.groups import DistinctRows, Groups, distinct_rows, load_groups
from safecompress.data.ledger import Ledger
from safecompress.data.load import load_splits, splits_from_arrays, splits_from_dataset
from safecompress.data.outputs_file import (
    RecordedOutputs,
    read_outputs,
    recorded_outputs,
    refuse_shared,
)
from safecompress.data.place_canaries import with_canaries
from safecompress.data.preprocessing import Preprocessor
from safecompress.data.raw import Column, RawData, raw_from_arrays
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.data.source_rows import source_rows
from safecompress.data.sources import load_source
from safecompress.data.splits import SplitReport, Splits, halves

__all__ = [
    "SOURCES",
    "Canaries",
    "CanaryKind",
    "Column",
    "DataSource",
    "DistinctRows",
    "Groups",
    "GroupsGiven",
    "Ledger",
    "Preprocessor",
    "RawData",
    "RecordedOutputs",
    "SplitReport",
    "Splits",
    "attach_groups",
    "columns_named",
    "content_of_inputs",
    "distinct_rows",
    "given_groups",
    "halves",
    "load_groups",
    "load_source",
    "load_splits",
    "raw_from_arrays",
    "read_outputs",
    "recorded_outputs",
    "refuse_shared",
    "source_rows",
    "splits_from_arrays",
    "splits_from_dataset",
    "with_canaries",
    "with_columns",
    "with_group_columns",
]
