"""`FORMATS`: each format that the program reads, with a small sound file and its reader."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safecompress.errors import SafeCompressError
from tests import fuzz_corpora as corpora

_TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        make: writes a sound corpus into an empty folder.
        files: names of the files of which one is changed, with their forms.
        read: reads the folder.
    """

    make: Callable[[Path], None]
    files: dict[str, str]
    read: Callable[[Path], object]


def _read_configuration(folder: Path) -> object:
    from safecompress.config.reading import load_config

    return load_config(folder / "config.yaml")


def _read_rows(source: str, **options: Any) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from safecompress.config import DataConfig, load_section
        from safecompress.data import load_source

        given = {"source": source, **{name: str(folder / file) for name, file in options.items()}}
        return load_source(load_section(DataConfig, {"source": given}, where="data").source, seed=0)

    return read


def _read_csv(folder: Path) -> object:
    """Read a CSV with Python and with pyarrow; `tests/laws/test_table_laws.py` compares both."""
    from safecompress.data import csv_source

    csv_source._WORTH_PYARROW = random.choice([0, 1 << 40])
    return _read_rows("csv", path="a.csv")(folder)


def _read_outputs(folder: Path) -> object:
    from safecompress.data import read_outputs

    return read_outputs(folder / "outputs.npz")


def _report(folder: Path) -> object:
    from safecompress.report import write_report

    return write_report(folder)


def _load(folder: Path) -> object:
    from safecompress import load

    return load(folder)


def _preprocessor(folder: Path) -> object:
    from safecompress import load_preprocessor

    return load_preprocessor(folder)


def _compact(folder: Path) -> object:
    import safecompress_reader as reader

    try:
        return reader.read_compact(folder / "small.safetensors")
    except reader.DamagedFileError as error:
        raise SafeCompressError(str(error)) from error


def _target(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from safecompress.targets import open_target

        return open_target(folder / name if name else folder)

    return read


FORMATS: dict[str, Format] = {
    "configuration": Format(corpora.configuration, {"config.yaml": "yaml"}, _read_configuration),
    "csv": Format(corpora.table("csv"), {"a.csv": "csv"}, _read_csv),
    "jsonl": Format(
        corpora.table("jsonl"), {"a.jsonl": "jsonl"}, _read_rows("jsonl", path="a.jsonl")
    ),
    "parquet": Format(
        corpora.table("parquet"), {"a.parquet": "bytes"}, _read_rows("parquet", path="a.parquet")
    ),
    "datasets": Format(
        corpora.table("datasets"),
        {
            "a.datasets/state.json": "json",
            "a.datasets/dataset_info.json": "json",
            "a.datasets/data-00000-of-00001.arrow": "bytes",
        },
        _read_rows("datasets", path="a.datasets"),
    ),
    "npy": Format(
        corpora.arrays, {"x.npy": "npy", "y.npy": "npy"}, _read_rows("npy", x="x.npy", y="y.npy")
    ),
    "npz": Format(corpora.arrays, {"rows.npz": "npz"}, _read_rows("npz", path="rows.npz")),
    "outputs": Format(corpora.arrays, {"outputs.npz": "npz"}, _read_outputs),
    "run-model": Format(
        corpora.model, {"model.safetensors": "safetensors", "config.yaml": "yaml"}, _load
    ),
    "run-report": Format(
        corpora.finished_run,
        {
            "verdict.json": "json",
            "figures.json": "json",
            "provenance.json": "json",
            "history.jsonl": "jsonl",
            "config.yaml": "yaml",
        },
        _report,
    ),
    "preprocessing": Format(corpora.model, {"preprocessing.json": "json"}, _preprocessor),
    "compact": Format(corpora.compact, {"small.safetensors": "safetensors"}, _compact),
    "onnx": Format(corpora.onnx, {"m.onnx": "onnx"}, _target("m.onnx")),
    "hugging-face": Format(
        corpora.hugging_face,
        {**dict.fromkeys(_TEXT_FILES, "json"), "model.safetensors": "safetensors"},
        _target(""),
    ),
}
