"""JSON lines, Parquet and folders of datasets give the rows that a CSV of the same table gives."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from safecompress.config import DataConfig, load_section
from safecompress.data import load_source
from safecompress.errors import DataError
from tests.arrow_files import datasets_folder, parquet_file

KINDS = ("csv", "jsonl", "parquet", "datasets")
TEXTS = [f'the text number {i} is "quoted", long' for i in range(30)]
TABLE = {
    "text": TEXTS,
    "size": [i / 4 if i % 5 else None for i in range(30)],
    "kind": ["a", "b", "c"] * 10,
    "label": [i % 2 for i in range(30)],
}


def written(folder, kind, columns, **options):
    path = folder / f"a.{kind}"
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if kind == "csv":
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(columns))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        parquet_file(path, columns)
    else:
        datasets_folder(path, columns, **options)
    return path


def source_of(kind, path, **options):
    given = {"source": {"source": kind, "path": str(path), **options}}
    return load_section(DataConfig, given, where="data").source


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_rows(kind, tmp_path):
    raw = load_source(source_of(kind, written(tmp_path, kind, TABLE)))
    assert [(c.name, c.kind) for c in raw.columns] == [
        ("text", "text"),
        ("size", "numeric"),
        ("kind", "categorical"),
    ]
    text, size, category = (c.values for c in raw.columns)
    assert text.tolist() == TEXTS
    np.testing.assert_array_equal(size, [np.nan if v is None else v for v in TABLE["size"]])
    assert category.tolist() == TABLE["kind"]
    assert raw.labels.tolist() == TABLE["label"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_part_follows_the_train_part(kind, tmp_path):
    (tmp_path / "t").mkdir()
    test = {name: values[:6] for name, values in TABLE.items()}
    source = source_of(
        kind,
        written(tmp_path, kind, TABLE),
        test_path=str(written(tmp_path / "t", kind, test)),
    )
    raw = load_source(source)
    assert raw.test_from == 30
    assert raw.columns[0].values.tolist() == TEXTS + TEXTS[:6]


def test_a_folder_of_datasets_names_its_classes_and_may_have_several_files(tmp_path):
    columns = {"text": TEXTS, "label": TABLE["label"]}
    path = written(tmp_path, "datasets", columns, names=["no", "yes"], pieces=3)
    raw = load_source(source_of("datasets", path))
    assert raw.label_names == ("no", "yes")
    assert raw.labels.tolist() == TABLE["label"]
    assert raw.columns[0].values.tolist() == TEXTS


def test_rows_without_a_label_are_refused(tmp_path):
    columns = {"text": TEXTS, "label": [*TABLE["label"][:-1], -1]}
    path = written(tmp_path, "datasets", columns, names=["no", "yes"])
    with pytest.raises(DataError, match=r"1 labels are none of its 2 classes \(first: -1\)"):
        load_source(source_of("datasets", path))


def test_a_folder_of_several_parts_is_refused_with_their_names(tmp_path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"several parts \(train, test\)"):
        load_source(source_of("datasets", tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_data_files": [{"filename": "../a.arrow"}]}, "outside it; refused"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "cannot be read"),
        ({"_data_files": 3}, "cannot be read"),
    ],
)
def test_a_hostile_or_damaged_folder_is_refused(tmp_path, change, message):
    path = written(tmp_path, "datasets", {"text": TEXTS, "label": TABLE["label"]})
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(DataError, match=message):
        load_source(source_of("datasets", path))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "datasets"])
def test_values_that_are_no_cells_are_refused_unless_dropped(kind, tmp_path):
    columns = {**TABLE, "tags": [["x", "y"]] * 30}
    path = written(tmp_path, kind, columns)
    with pytest.raises(DataError, match=r"row 1: column 'tags' holds a list.*drop"):
        load_source(source_of(kind, path))
    raw = load_source(source_of(kind, path, drop=["tags"]))
    assert [c.name for c in raw.columns] == ["text", "size", "kind"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ('{"a": 1, "label": 0}\n{"a": 2\n', "line 2: not valid JSON"),
        ("[1, 2]\n", "line 1: a list; expected an object"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_damaged_lines_are_named(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=message):
        load_source(source_of("jsonl", path))
