"""scikit-learn's data sets and users' own datasets."""

from __future__ import annotations

import inspect
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from safecompress.config import SklearnSource, SourceConfig, TorchSource
from safecompress.config.sources import SOURCE_TAGS
from safecompress.data import SOURCES, DataSource, load_source, splits_from_dataset
from safecompress.data.sklearn_source import GENERATORS, LOADERS
from safecompress.data.torch_source import raw_from_dataset
from safecompress.errors import ConfigError, DataError


def sk(name: str, **options) -> SklearnSource:
    return SklearnSource(source="sklearn", name=name, options=options)


@pytest.mark.parametrize("name", [*LOADERS, *(f"load_{name}" for name in LOADERS)])
def test_loaders_give_scikit_learns_rows(name):
    raw = load_source(sk(name))
    loader = getattr(datasets, f"load_{name.removeprefix('load_')}")
    x, y = loader(return_X_y=True)
    np.testing.assert_array_equal(raw.columns, x)
    np.testing.assert_array_equal(raw.labels, y)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_follow_the_seed_unless_told_otherwise(name):
    first, again, other = (load_source(sk(name), seed=s).columns for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    fixed = [load_source(sk(name, random_state=3), seed=s).columns for s in (0, 1)]
    np.testing.assert_array_equal(*fixed)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (sk("fetch_openml"), "download"),
        (sk("digit"), "did you mean 'digits'"),
        (sk("load_diabetes"), "not an offline classification"),
        (sk("make_blobs", n_sample=3), "unknown option 'n_sample'; did you mean 'n_samples'"),
        (sk("digits", as_frame=True), "unknown option 'as_frame'"),
        (sk("make_blobs", n_samples="many"), "were refused"),
        (sk("make_classification", n_informative=99), "were refused"),
    ],
)
def test_sklearn_settings_that_cannot_work_are_refused(source, message):
    with pytest.raises(ConfigError, match=message):
        load_source(source, seed=0)


def test_a_generator_without_any_seed_is_refused():
    with pytest.raises(ConfigError, match="random_state"):
        load_source(sk("make_moons"))


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """A module in the current folder, which is not on the import path."""
    (tmp_path / "own_rows.py").write_text(
        "import torch\n"
        "from torch.utils.data import TensorDataset\n"
        "def one(n=8):\n"
        "    return TensorDataset(torch.rand(n, 3), torch.arange(n) % 2)\n"
        "def two():\n"
        "    return one(8), one(6)\n"
        "def broken():\n"
        "    raise RuntimeError('no disk today')\n"
        "def nothing():\n"
        "    return None\n"
        "value = 3\n"
    )
    (tmp_path / "unimportable_rows.py").write_text("import does_not_exist_anywhere\n")
    monkeypatch.chdir(tmp_path)
    yield lambda name, **options: TorchSource(
        source="torch", factory=f"own_rows:{name}" if ":" not in name else name, options=options
    )
    sys.modules.pop("own_rows", None)


def test_a_factory_in_the_current_folder_is_called_under_the_seed(factories):
    path = list(sys.path)
    raw = load_source(factories("one", n=10), seed=4)
    assert len(raw) == 10
    np.testing.assert_array_equal(raw.columns, load_source(factories("one", n=10), seed=4).columns)
    assert load_source(factories("two"), seed=0).test_from == 8
    assert sys.path == path


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("broken", DataError, "RuntimeError: no disk today"),
        ("nothing", DataError, "got a NoneType"),
        ("missing", ConfigError, "has no 'missing'"),
        ("value", ConfigError, "int, not a callable"),
        ("nowhere_at_all:f", ConfigError, "ModuleNotFoundError"),
        ("unimportable_rows:f", ConfigError, "does_not_exist_anywhere"),
        ("own_rows:", ConfigError, "expected package.module:callable"),
    ],
)
def test_factories_that_cannot_work_are_refused(factories, name, error, message):
    with pytest.raises(error, match=message):
        load_source(factories(name), seed=0)


class Endless(IterableDataset):
    def __iter__(self):
        yield row()


class Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        item = self.items[row]
        return item() if callable(item) else item


def test_rows_of_many_forms_are_read():
    for form in (torch.tensor, np.array, list):
        raw = raw_from_dataset(Listed([(form([1.0, 2.0 * i]), i % 2) for i in range(4)]))
        np.testing.assert_array_equal(raw.columns, [[1, 0], [1, 2], [1, 4], [1, 6]])
    for label in (torch.tensor, np.int64, np.array, str):
        raw = raw_from_dataset(Listed([(torch.ones(2) * i, label(i % 2)) for i in range(4)]))
        np.testing.assert_array_equal(raw.labels, [0, 1, 0, 1])
    half = TensorDataset(torch.ones(4, 2, dtype=torch.bfloat16), torch.arange(4))
    assert raw_from_dataset(half).columns.dtype == np.float32


def row(value: float = 1.0):
    return torch.full((2,), value), 0


UNUSABLE = {
    "iterable": (Endless(), "Endless"),
    "mapping": ({"x": 1}, "dict"),
    "empty": (Listed([]), "empty"),
    "random": (Listed([lambda: (torch.rand(3), 1)]), "twice"),
    "no pair": (Listed([torch.ones(3)]), r"row 0 is a Tensor; expected \(input, label\)"),
    "shapes": (Listed([row(), (torch.ones(3), 1)]), r"row 1 has shape \(3,\)"),
    "label": (Listed([(torch.ones(2), torch.ones(2))]), "row 0 has a label of type Tensor"),
    "label none": (Listed([(torch.ones(2), None)]), "row 0 has a label of type NoneType"),
    "raises": (Listed([row(), lambda: 1 / 0]), "row 1 raised ZeroDivisionError"),
    "nan": (Listed([row(), row(float("nan"))]), r"NaN or infinity in 1 rows \(first: 1\)"),
}


@pytest.mark.parametrize(("dataset", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_datasets_that_cannot_be_used_are_refused(dataset, message):
    with pytest.raises(DataError, match=message):
        raw_from_dataset(dataset)


def test_a_dataset_is_split_like_arrays():
    dataset = TensorDataset(torch.rand(40, 3), torch.arange(40) % 4)
    splits = splits_from_dataset(dataset, seed=0)
    assert splits.classes == 4
    assert splits.input_shape == (3,)
    assert len(splits.members) == 20


def test_every_section_of_a_configuration_has_its_source_and_no_other_options() -> None:
    assert set(SOURCES.parts) == SOURCE_TAGS - {"published"}
    for name, part in SOURCES.parts.items():
        factory = part.factory
        assert isinstance(factory, type)
        section = factory.__mro__[1]
        assert issubclass(section, SourceConfig)
        assert issubclass(factory, DataSource)
        assert set(inspect.signature(factory).parameters) == set(section.model_fields)
        assert get_args(section.model_fields["source"].annotation) == (name,)
