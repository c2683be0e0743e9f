"""Parquet files, and folders as `save_to_disk` of Hugging Face's datasets writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest


def _pyarrow() -> Any:
    return pytest.importorskip("pyarrow", reason="needs the extra safecompress[arrow]")


def parquet_file(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Write columns as a Parquet file; skips without pyarrow."""
    table = _pyarrow().table(dict(columns))
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    return path


def datasets_folder(
    folder: Path,
    columns: Mapping[str, Sequence[Any]],
    *,
    names: Sequence[str] | None = None,
    pieces: int = 1,
) -> Path:
    """Write columns as datasets 5 does: Arrow streams, and two JSON files; skips without pyarrow.

    Args:
        folder: the folder to make.
        columns: the columns.
        names: names of the classes of the column `label`.
        pieces: number of files that the rows are cut into.
    """
    arrow = _pyarrow()
    ipc = pytest.importorskip("pyarrow.ipc")
    folder.mkdir(parents=True)
    table, files = arrow.table(dict(columns)), []
    size = -(-len(table) // pieces)
    for number in range(pieces):
        files.append(f"data-{number:05d}-of-{pieces:05d}.arrow")
        with ipc.new_stream(str(folder / files[-1]), table.schema) as stream:
            stream.write_table(table.slice(number * size, size))
    label = {"_type": "Value", "dtype": "int64"}
    if names is not None:
        label = {"_type": "ClassLabel", "names": list(names)}
    info = {"features": {"text": {"_type": "Value", "dtype": "string"}, "label": label}}
    state = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": "0",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "state.json").write_text(json.dumps(state))
    return folder
