"""Rows for a trained model: labels mean the columns that are stated, and inputs are one array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from safecompress import splits_from_arrays, splits_from_dataset
from safecompress.errors import ConfigError, DataError

NAMES = ("fox", "ant", "cat", "dog")
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 3))
Y = DRAW.choice([0, 2, 3], 80)  # no ant
TRAINED: dict[str, Any] = {
    "seed": 0,
    "weights_given": True,
    "split": {"membership": "pair"},
    "test": (X[40:] + 1, Y[40:]),
}


class Pairs(Dataset):
    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return self.x[row], self.y[row]


def by_arrays(x: Any, y: Any, **options: Any) -> Any:
    return splits_from_arrays(x[:40], y[:40], **TRAINED | {"test": (x[40:], y[40:])} | options)


def by_dataset(x: Any, y: Any, **options: Any) -> Any:
    texts = [str(v) if isinstance(v, str) else v.item() for v in y]
    parts = Pairs(x[:40], texts[:40]), Pairs(x[40:], texts[40:])
    return splits_from_dataset(parts[0], **TRAINED | {"test": parts[1]} | options)


@pytest.mark.parametrize("way", [by_arrays, by_dataset])
def test_a_trained_models_classes_are_stated(way: Any) -> None:
    texts = np.array(NAMES)[Y]
    found, numbers = way(X, texts, classes=NAMES), way(X, Y)
    assert found.class_names == NAMES
    assert (
        found.members.labels.tolist()
        == numbers.members.labels.tolist()
        == Y[found.members.ids].tolist()
    )
    with pytest.raises(DataError, match="nothing says which column"):
        way(X, texts)
    with pytest.raises(DataError, match="'dog' is not among classes"):
        way(X, texts, classes=NAMES[:3])
    with pytest.raises(ConfigError, match="twice"):
        way(X, texts, classes=("fox", "fox"))


@pytest.mark.parametrize("written", ["{}.0", "0{}", "+{}"])
def test_numbers_written_otherwise_are_columns_of_a_trained_model(written: str) -> None:
    found = by_arrays(X, np.array([written.format(y) for y in Y]))
    assert found.members.labels.tolist() == Y[found.members.ids].tolist()
    assert found.class_names == ("0", "1", "2", "3")


def test_a_model_trained_here_needs_no_list_and_may_have_one() -> None:
    texts = np.array(NAMES)[Y]
    free = splits_from_arrays(X, texts, seed=0)
    assert free.class_names == ("cat", "dog", "fox")
    listed = splits_from_arrays(X, texts, seed=0, classes=NAMES)
    assert listed.class_names == NAMES


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ((X, X), "are a tuple of 2; expected one array"),
        ({"a": X}, "are a dict of 1; expected one array"),
        ([[1.0], [1.0, 2.0]], "2 rows of inputs but 80 labels"),
        ("rows.npz", "are a str; expected one array"),
    ],
)
def test_several_inputs_are_refused_in_one_sentence(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        splits_from_arrays(x, Y, seed=0)


@pytest.mark.parametrize("row", [{"a": X[0]}, (X[0], X[0])])
def test_rows_of_several_inputs_are_refused(row: Any) -> None:
    with pytest.raises(DataError, match=r"row 0: inputs are a .* expected one array"):
        splits_from_dataset(Pairs([row] * 80, Y.tolist()), seed=0)
