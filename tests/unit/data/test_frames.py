"""Data frames and sequences of several lengths, from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress import record, splits_from_arrays
from safecompress.config import DataConfig
from safecompress.data import load_splits
from safecompress.errors import ConfigError, DataError

N = 90


def _columns() -> dict[str, list[Any]]:
    random = np.random.default_rng(0)
    age = [float(v) for v in random.normal(40, 9, N).round(3)]
    age[7] = None  # type: ignore[call-overload]
    words = ["red wine", "white wine", "green tea", "black coffee", "milk"]
    return {
        "age": age,
        "city": [("Oslo", "Rome", "Bern")[k] for k in random.integers(0, 3, N)],
        "code": [int(v) for v in random.integers(0, 4, N)],
        "note": [" ".join(random.choice(words, 3)) + f" {k}" for k in range(N)],
    }


LABELS = [("no", "yes")[k % 2] for k in range(N)]


def _frame(kind: str, columns: dict[str, list[Any]]) -> Any:
    return pytest.importorskip(kind).DataFrame(columns)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_frame_is_the_table_that_a_file_of_it_holds(tmp_path: Path, kind: str) -> None:
    frame = _frame(kind, _columns())
    found = splits_from_arrays(frame, LABELS, seed=0)
    lines = ["age,city,code,note,target"]
    for row, label in zip(zip(*_columns().values(), strict=True), LABELS, strict=True):
        lines.append(",".join(["" if v is None else str(v) for v in row] + [label]))
    (tmp_path / "a.csv").write_text("\n".join(lines))
    source = {"source": "csv", "path": str(tmp_path / "a.csv"), "label": "target"}
    config = DataConfig.model_validate({"source": source})
    known = load_splits(config, seed=0, weights_given=False)
    assert found.digests() == known.digests()
    assert found.class_names == known.class_names == ("no", "yes")
    assert found.preprocessor == known.preprocessor


def test_a_frame_of_numbers_is_the_array_that_it_holds() -> None:
    frame = _frame("pandas", {"a": np.arange(N) / 7, "b": np.arange(N)[::-1]})
    labels = np.arange(N) % 2
    known = splits_from_arrays(frame.to_numpy(), labels, seed=0)
    assert splits_from_arrays(frame, labels, seed=0).digests() == known.digests()


def test_a_column_of_categories_stays_one_though_its_values_are_numbers() -> None:
    frame = _frame("pandas", _columns())
    frame["code"] = frame["code"].astype("category")
    kinds = {}
    for name, given in (("as number", _columns()), ("as category", None)):
        x = frame if given is None else _frame("pandas", given)
        preprocessor = splits_from_arrays(x, LABELS, seed=0).preprocessor
        assert preprocessor is not None
        kinds[name] = {c.name: c.kind for c in preprocessor.columns}["code"]
    assert kinds == {"as number": "numeric", "as category": "categorical"}


def test_a_frame_with_a_test_part_and_faults_in_it() -> None:
    frame = _frame("pandas", _columns())
    pair: Any = {"split": {"membership": "pair"}, "weights_given": True, "seed": 0}
    classes = {"classes": ["no", "yes"]}
    both = splits_from_arrays(
        frame[:50], LABELS[:50], test=(frame[50:], LABELS[50:]), **pair, **classes
    )
    assert both.report.source_rows == N
    other = frame[50:].drop(columns="city")
    with pytest.raises(DataError, match=r"missing \['city'\]"):
        splits_from_arrays(frame[:50], LABELS[:50], test=(other, LABELS[50:]), **pair, **classes)
    with pytest.raises(DataError, match="90 rows but 89 labels"):
        splits_from_arrays(frame, LABELS[1:], seed=0)
    frame["when"] = [complex(1, 2)] * N
    with pytest.raises(DataError, match="'when' holds a complex"):
        splits_from_arrays(frame, LABELS, seed=0)


@pytest.mark.parametrize("form", [list, np.asarray, torch.as_tensor])
def test_sequences_are_filled_up_once_for_all_parts(form: Any) -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(1, 99, 1 + k % 7).tolist() for k in range(N)]
    rows[-1] = random.integers(1, 99, 11).tolist()
    wide = np.zeros((N, 11), np.int64)
    for k, row in enumerate(rows):
        wide[k, : len(row)] = row
    labels = np.arange(N) % 2
    given = [form(row) for row in rows]
    known = splits_from_arrays(wide, labels, seed=0, preprocessing={"features": "none"})
    assert splits_from_arrays(given, labels, seed=0).digests() == known.digests()
    pair: Any = {"split": {"membership": "pair"}, "weights_given": True, "seed": 0}
    parts = splits_from_arrays(given[:50], labels[:50], test=(given[50:], labels[50:]), **pair)
    assert parts.members.inputs.shape == (50, 11)
    assert parts.members.inputs.dtype == torch.int64


def test_sequences_of_vectors_and_what_cannot_be_filled_up() -> None:
    rows: list[Any] = [np.ones((2 + k % 3, 4)) * (k + 1) for k in range(N)]
    splits = splits_from_arrays(rows, np.arange(N) % 2, seed=0)
    assert splits.input_shape == (4, 4)
    assert bool((splits.members.inputs[:, 3][splits.members.ids % 3 != 2] == 0).all())
    with pytest.raises(ConfigError, match="standardize"):
        splits_from_arrays(
            rows, np.arange(N) % 2, seed=0, preprocessing={"features": "standardize"}
        )
    with pytest.raises(DataError, match=r"row 3 has shape \(2, 5\)"):
        splits_from_arrays([*rows[:3], np.ones((2, 5)), *rows[4:]], np.arange(N) % 2, seed=0)
    with pytest.raises(DataError, match="row 0 has shape"):
        splits_from_arrays([np.ones((0, 4)), *rows[1:]], np.arange(N) % 2, seed=0)


def test_an_audit_fills_up_sequences_of_both_groups_alike() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 8, padding_idx=0)
            self.last = nn.Linear(8, 2)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.last(self.table(tokens).sum(1))
            return found

    random = np.random.default_rng(0)
    rows = [random.integers(1, 50, 3 + k % 5) for k in range(N)]
    labels = [k % 2 for k in range(N)]
    recorded = record(Mean(), (rows[:50], labels[:50]), (rows[50:], labels[50:]))
    assert recorded.rows.members.inputs.shape[1] == 7
    assert recorded.rows.nonmembers.inputs.shape[1] == 7
