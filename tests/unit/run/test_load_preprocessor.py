"""New rows take the same way as the rows of the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from safecompress import load_preprocessor
from safecompress.config import CsvSource, PreprocessingConfig
from safecompress.data import Preprocessor, load_source
from safecompress.errors import DataError, RunFolderError
from safecompress.run.folder import PREPROCESSING


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, Preprocessor, torch.Tensor]:
    lines = ["age,city,note,label"]
    for i in range(60):
        age = "" if i % 7 == 0 else str(20 + i)
        lines.append(f"{age},{['Rome', 'Oslo'][i % 2]},word{i} some more text {i * i},{i % 3}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    raw = load_source(CsvSource(source="csv", path=tmp_path / "t.csv", text=("note",)))
    fitted = Preprocessor.fit(raw, range(40), PreprocessingConfig())
    (tmp_path / PREPROCESSING).write_text(json.dumps(fitted.to_json()))
    return tmp_path, fitted, fitted.transform(raw, range(60))


def test_columns_by_name_give_the_same_rows(
    table: tuple[Path, Preprocessor, torch.Tensor],
) -> None:
    folder, _, expected = table
    columns: dict[str, list[object]] = {"age": [], "city": [], "note": []}
    for i in range(60):
        columns["age"].append(None if i % 7 == 0 else 20 + i)
        columns["city"].append(["Rome", "Oslo"][i % 2])
        columns["note"].append(f"word{i} some more text {i * i}")
    assert torch.equal(load_preprocessor(folder).apply(columns), expected)


def test_arrays_give_the_same_rows() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    from safecompress import splits_from_arrays

    splits = splits_from_arrays(x, np.arange(50) % 2, seed=0)
    assert splits.preprocessor is not None
    rows = splits.preprocessor.apply(x)
    assert torch.equal(rows[splits.members.ids], splits.members.inputs)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"age": [1], "city": ["Rome"]}, "no column 'note'"),
        ({"age": [1, 2], "city": ["Rome"], "note": ["a"]}, "different lengths"),
        ({"age": ["old"], "city": ["Rome"], "note": ["a"]}, "'age' is numeric"),
        (np.zeros((3, 3)), "no column"),
    ],
)
def test_rows_that_do_not_fit_are_named(
    table: tuple[Path, Preprocessor, torch.Tensor], rows: object, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        table[1].apply(rows)


def test_ready_tensors_have_no_preprocessing(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        load_preprocessor(tmp_path)
    (tmp_path / PREPROCESSING).write_text("null")
    with pytest.raises(RunFolderError, match="ready tensors"):
        load_preprocessor(tmp_path)
