"""`ParquetRows`, `DatasetsRows`: tables from Parquet files and folders of Hugging Face's datasets.

pyarrow reads both; it is an extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safecompress.config import DatasetsSource, ParquetSource, TableSource
from safecompress.data.arrow_cells import ArrowCells, find_pyarrow
from safecompress.data.cells import CellTable, raw_of_files, table_of, texts_of
from safecompress.data.column_cells import Cells
from safecompress.data.npz_source import check_file
from safecompress.data.raw import RawData
from safecompress.data.registry import SOURCES
from safecompress.data.source import DataSource
from safecompress.errors import ConfigError, DataError, brief
from safecompress.files import read_json

INSTALL = "pip install 'safecompress[arrow]'"
_STATE, _INFO, _PARTS = "state.json", "dataset_info.json", "dataset_dict.json"


class ParquetRows(ParquetSource, DataSource):
    """Rows of a Parquet file, or of a train and a test file."""

    source: Literal["parquet"] = "parquet"

    def load(self, *, seed: int | None) -> RawData:
        """Read the file, or the train and the test file.

        Args:
            seed: not used, because the rows of a file are fixed.

        Raises:
            ConfigError: when pyarrow is not installed.
            DataError: when a file cannot be used; the message names the file.
        """
        del seed
        return raw_of_files(self, lambda path: _parquet(path, self))


SOURCES.add("parquet", ParquetRows, summary="numbers, categories and texts in a Parquet file")


class DatasetsRows(DatasetsSource, DataSource):
    """Rows of a folder that `save_to_disk` wrote, or of one for each part."""

    source: Literal["datasets"] = "datasets"

    def load(self, *, seed: int | None) -> RawData:
        """Read the folder, or the folders of the train and the test part.

        Args:
            seed: not used, because the rows of a folder are fixed.

        Raises:
            ConfigError: when pyarrow is not installed.
            DataError: when a folder cannot be used; the message names it.
        """
        del seed
        return raw_of_files(self, lambda path: _datasets(path, self))


SOURCES.add("datasets", DatasetsRows, summary="a folder that Hugging Face's datasets saved to disk")


def _pyarrow(where: Path) -> Any:
    arrow = find_pyarrow()
    if arrow is None:
        raise ConfigError(f"{where}: pyarrow is not installed; {INSTALL}.")
    return arrow


def _parquet(path: Path, source: TableSource) -> CellTable:
    check_file(path)
    arrow = _pyarrow(path)
    try:
        table = arrow.parquet.ParquetFile(path).read()
        table.validate(full=True)
    except Exception as error:
        raise DataError(f"{path}: not a readable Parquet file ({brief(error)}).") from error
    return _cells(path, table, source)


def _datasets(folder: Path, source: TableSource) -> CellTable:
    if (folder / _PARTS).is_file():
        parts = _mapping(folder / _PARTS).get("splits", [])
        raise DataError(
            f"{folder}: holds several parts ({', '.join(map(str, parts))[:200]}); name the folder "
            "of one, and that of the test part as test_path."
        )
    if not (folder / _STATE).is_file():
        raise DataError(
            f"{folder}: no {_STATE} in it; expected a folder that save_to_disk of Hugging Face's "
            "datasets wrote."
        )
    state = _mapping(folder / _STATE)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder}: its rows are chosen by an index of their own; save it after "
            "dataset.flatten_indices()."
        )
    arrow, pieces = _pyarrow(folder), []
    try:
        names = [str(entry["filename"]) for entry in state["_data_files"]]
        if outside := [name for name in names if Path(name).name != name]:
            raise DataError(f"{folder}: wants rows from '{outside[0][:100]}', outside it; refused.")
        for name in names:
            with arrow.OSFile(str(folder / name)) as file:
                pieces.append(arrow.ipc.open_stream(file).read_all())
        table = arrow.concat_tables(pieces)
        # Places in the file are believed until they are checked; a wrong one ends the process.
        table.validate(full=True)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{folder}: its rows cannot be read ({brief(error)}).") from error
    return _cells(folder, table, source, label_names=_class_names(folder, source.label))


def _class_names(folder: Path, label: str) -> tuple[str, ...]:
    """Return the names of the classes that a folder states; empty where it states none."""
    features = _mapping(folder / _INFO).get("features") if (folder / _INFO).is_file() else None
    feature = features.get(label) if isinstance(features, dict) else None
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _mapping(path: Path) -> Mapping[str, Any]:
    found = read_json(path, encodable=True)
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a mapping.")
    return found


def _cells(
    path: Path, table: Any, source: TableSource, *, label_names: tuple[str, ...] = ()
) -> CellTable:
    names = list(table.column_names)
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two columns have one name; rename one of each.")
    return table_of(
        path,
        {
            name: _column(path, name, table.column(name), dropped=name in source.drop)
            for name in names
        },
        label_names=label_names,
    )


def _column(path: Path, name: str, values: Any, *, dropped: bool) -> Cells:
    if ArrowCells.holds(values.type):
        return ArrowCells(values)
    found = values.to_pylist()
    # Values of dropped columns may be of any type, and so are compared as texts.
    return texts_of(
        path, name, [None if v is None else str(v) for v in found] if dropped else found
    )
