"""Groups of rows: every kind of value, bands of numbers, rows that were dropped or reordered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safecompress.data import (
    Column,
    RawData,
    RecordedOutputs,
    attach_groups,
    columns_named,
    read_outputs,
    recorded_outputs,
)
from safecompress.data.group_values import MOST_VALUES, group_column
from safecompress.data.output_form import form_of
from safecompress.errors import DataError
from safecompress.protocols import Outputs, Pool


def recorded_of(outputs: Pool[Outputs]) -> RecordedOutputs:
    both = (outputs.members.logits, outputs.nonmembers.logits)
    form = form_of(both, declared="logits", where="model")
    return recorded_outputs(outputs, form, path=Path("model"))


def recorded(members: int = 6, others: int = 4) -> RecordedOutputs:
    draw = torch.Generator().manual_seed(0)
    total = members + others
    logits, labels = torch.randn(total, 3, generator=draw), torch.arange(total) % 3
    ids = torch.arange(total)
    whole = Outputs(logits, labels, ids)
    pool = Pool(whole.take(ids[:members]), whole.take(ids[members:]))
    return recorded_of(pool)


def names_of(found: RecordedOutputs, name: str) -> tuple[list[str], list[str]]:
    sides = found.groups.map(lambda g: [g[name].names[code] for code in g[name].codes])
    return sides.members, sides.nonmembers


KINDS: dict[str, Any] = {
    "text": (["n", "s", "n", "w", "s", "n"], ["n", "w", "w", "s"]),
    "array": (np.array(["n", "s", "n", "w", "s", "n"]), np.array(["n", "w", "w", "s"])),
    "bytes": (np.array([b"n", b"s", b"n", b"w", b"s", b"n"]), np.array([b"n", b"w", b"w", b"s"])),
    "objects": (
        np.array(["n", "s", "n", "w", "s", "n"], dtype=object),
        np.array(["n", "w", "w", "s"], dtype=object),
    ),
    "categories": (pd.Categorical(list("nsnwsn")), pd.Series(list("nwws"), dtype="category")),
    "series": (pd.Series(list("nsnwsn")), pd.Series(list("nwws"), dtype="string")),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_text_names_its_groups(kind: str) -> None:
    found = attach_groups(recorded(), {"region": KINDS[kind]})
    assert names_of(found, "region") == (list("nsnwsn"), list("nwws"))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (([1, 2, 2, 1, 1, 1], [2, 2, 1, 1]), ("1", "2")),
        ((torch.tensor([1, 2, 2, 1, 1, 1]), torch.tensor([2, 2, 1, 1])), ("1", "2")),
        (([True, False] * 3, [True, True, False, True]), ("False", "True")),
        (([0.5, 1.5, float("nan"), 1.5, 0.5, 0.5], [0.5] * 4), ("0.5", "1.5", "unknown")),
        (([1, None, 2, 1, 1, 1], [1, 1, 2, 2]), ("1", "2", "unknown")),
        ((pd.array([1, None] * 3, dtype="Int64"), [1, 1, 1, 1]), ("1", "unknown")),
    ],
)
def test_numbers_and_yes_no_name_their_groups(given_: Any, expected: tuple[str, ...]) -> None:
    found = attach_groups(recorded(), {"group": given_})
    assert found.groups.members["group"].names == expected


@given(
    st.lists(st.floats(-1e6, 1e6) | st.integers(-50, 50), min_size=2, max_size=300),
    st.integers(0, 2**31),
)
def test_bands_of_numbers_are_quarters_in_order(values: list[float], seed: int) -> None:
    numbers = np.array(values, dtype=np.float64)
    cut = 1 + seed % (len(numbers) - 1)
    found = group_column(Pool(numbers[:cut], numbers[cut:]))
    codes = torch.cat([found.members.codes, found.nonmembers.codes]).numpy()
    distinct = len(np.unique(numbers))
    if distinct <= MOST_VALUES:
        assert len(found.members.names) == distinct
        assert all(len(set(numbers[codes == c])) == 1 for c in set(codes))
        return
    assert 2 <= len(found.members.names) <= 4
    order = np.argsort(numbers, kind="stable")
    assert (np.diff(codes[order]) >= 0).all()
    for code in set(codes):
        inside = numbers[codes == code]
        assert not np.isin(inside, numbers[codes != code]).any()


def test_groups_follow_rows_that_are_dropped_and_reordered() -> None:
    values = {"row": ([f"m{i}" for i in range(6)], [f"o{i}" for i in range(4)])}
    whole = recorded()
    index = Pool(torch.tensor([4, 0, 2]), torch.tensor([3, 1]))
    before = attach_groups(whole, values).evidence.zip(index, lambda e, at: e.take(at))
    few = recorded_of(whole.outputs.zip(index, lambda o, at: o.take(at)))
    after = attach_groups(few, values).evidence
    for evidence in (before, after):
        sides = evidence.map(lambda e: [e.groups["row"].names[c] for c in e.groups["row"].codes])
        assert (sides.members, sides.nonmembers) == (["m4", "m0", "m2"], ["o3", "o1"])


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"a": ([1] * 5, [1] * 4)}, "5 values of members and 4 of non-members; expected one"),
        ({"a": ([1] * 6, [1] * 3)}, "expected one for each of 6 members and 4 non-members"),
        ({"a": [1, 2, 3]}, "expected a pair of member values and non-member values"),
        ({"a": ([[1]] * 6, [[1]] * 4)}, r"groups\['a'\]\[0\] has shape \(6, 1\)"),
        ({"class": ([1] * 6, [1] * 4)}, "'class' means the classes"),
        ({"a": (np.zeros(6, "M8[D]"), np.zeros(4, "M8[D]"))}, "is of datetime64"),
    ],
)
def test_values_that_fit_no_row_are_refused(groups: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        attach_groups(recorded(), groups)


def write(folder: Path, **more: Any) -> Path:
    whole = recorded().outputs
    arrays = {
        "member_logits": whole.members.logits.numpy(),
        "member_labels": whole.members.labels.numpy(),
        "nonmember_logits": whole.nonmembers.logits.numpy(),
        "nonmember_labels": whole.nonmembers.labels.numpy(),
    }
    np.savez(folder / "outputs.npz", **arrays, **more)
    return folder / "outputs.npz"


def test_a_file_of_outputs_brings_its_groups(tmp_path: Path) -> None:
    region = {"member_group_region": list("nsnwsn"), "nonmember_group_region": list("nwws")}
    found = read_outputs(write(tmp_path, **region))
    assert names_of(found, "region") == (list("nsnwsn"), list("nwws"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"member_group_a": [1] * 6}, "outputs.npz: groups 'a' of one side only"),
        ({"member_group_a": [1] * 5, "nonmember_group_a": [1] * 4}, r"outputs.npz: groups\['a'\]"),
    ],
)
def test_a_file_with_unfit_groups_is_refused(tmp_path: Path, more: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_outputs(write(tmp_path, **more))


def test_columns_that_are_dropped_may_be_named_and_others_not() -> None:
    column = Column("age", "numeric", np.arange(4.0))
    aside = Column("region", "categorical", np.array(list("nnss"), dtype=object))
    raw = RawData((column,), np.arange(4) % 2, ("a", "b"), where="data.csv", aside=(aside,))
    assert list(columns_named(raw, ["region", "age"])["region"]) == list("nnss")
    with pytest.raises(DataError, match=r"data.csv: group_by names 'regoin'.*mean 'region'"):
        columns_named(raw, ["regoin"])
    plain = RawData(np.zeros((4, 2)), np.arange(4) % 2, ("a", "b"))
    with pytest.raises(DataError, match="only the columns of a table"):
        columns_named(plain, ["region"])
