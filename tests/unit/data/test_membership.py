"""Who is a member: drawn, a pair, a list, or nobody said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from safecompress.config import DataConfig, SplitConfig
from safecompress.data import load_splits, splits_from_arrays
from safecompress.errors import DataError, MembershipError, UsageError

X = np.random.default_rng(1).normal(size=(60, 3))
Y = np.arange(60) % 3


def split(**settings):
    arguments = settings.pop("arguments", {})
    return splits_from_arrays(X, Y, seed=0, split=SplitConfig(**settings), **arguments)


@pytest.mark.parametrize("membership", [None, "fresh"])
def test_given_weights_need_a_declaration(membership):
    with pytest.raises(MembershipError, match="false PASS") as caught:
        split(membership=membership, arguments={"weights_given": True})
    for way in ("pair", "index", "unseen"):
        assert f"membership: {way}" in str(caught.value)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, UsageError)


def test_given_weights_are_refused_before_any_file_is_read(tmp_path):
    config = DataConfig.model_validate(
        {"source": {"source": "npz", "path": tmp_path / "does-not-exist.npz"}}
    )
    with pytest.raises(MembershipError):
        load_splits(config, seed=0, weights_given=True)


def test_without_weights_nothing_needs_to_be_declared():
    assert split().report.membership == "fresh"
    report = split(membership="unseen", arguments={"weights_given": True}).report
    assert report.membership == "unseen"


@pytest.mark.parametrize(
    ("members", "reference", "expected"),
    [(0.5, 0, (30, 15, 15, 0)), (20, 10, (20, 15, 15, 10)), (0.25, 0.2, (15, 18, 18, 9))],
)
def test_groups_have_the_sizes_asked_for(members, reference, expected):
    splits = split(members=members, reference=reference)
    got = (
        len(splits.members),
        len(splits.steer.nonmembers),
        splits.sealed_sizes[1],
        len(splits.reference) if splits.reference else 0,
    )
    assert got == expected
    assert splits.report.sizes["members"] == expected[0]


def test_a_pair_makes_the_train_part_the_members():
    test = (X[:24] + 100, Y[:24])
    splits = split(membership="pair", arguments={"test": test, "weights_given": True})
    assert sorted(splits.members.ids.tolist()) == list(range(60))
    assert set(splits.steer.nonmembers.ids.tolist()) < set(range(60, 84))
    with pytest.raises(MembershipError, match="one part"):
        split(membership="pair")


def test_fewer_rows_are_drawn_from_both_parts():
    test = (X[:24] + 100, Y[:24])
    splits = split(membership="pair", rows=50, arguments={"test": test})
    members, others = splits.report.sizes["members"], splits.report.used_rows
    assert others == 50
    assert 26 <= members < 50
    assert set(splits.members.ids.tolist()) < set(range(60))


def listed(path, indices):
    if path.suffix == ".npy":
        np.save(path, np.array(indices))
    else:
        path.write_text("\n".join(str(i) for i in indices) + "\n\n")
    return path


@pytest.mark.parametrize("name", ["members.npy", "members.txt", "members.csv"])
def test_a_list_of_rows_makes_them_the_members(tmp_path, name):
    rows = [5, 3, *range(20, 40)]
    path = listed(tmp_path / name, rows)
    splits = split(membership="index", members_file=path, arguments={"weights_given": True})
    assert sorted(splits.members.ids.tolist()) == sorted(rows)
    fewer = split(membership="index", members_file=path, rows=50)
    assert set(fewer.members.ids.tolist()) < set(rows)


BAD_LISTS = {
    "outside": ([1, 60, 99], r"2 indices are out of range \(first: 60, 99\).*0 to 59"),
    "negative": ([1, -1], r"out of range \(first: -1\)"),
    "twice": ([1, 2, 3, 2, 1], r"2 rows are listed more than once \(first: 1, 2\)"),
    "everything": (range(60), r"lists all 60 rows \(first: 0, 1, 2"),
}


@pytest.mark.parametrize("name", ["members.npy", "members.txt"])
@pytest.mark.parametrize(("rows", "message"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_lists_that_cannot_be_right_are_refused_by_row(tmp_path, name, rows, message):
    path = listed(tmp_path / name, list(rows))
    with pytest.raises(DataError, match=message):
        split(membership="index", members_file=path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.txt", b"", "lists no rows"),
        ("m.txt", b"1\ntwo\n", "line 2: 'two'"),
        ("m.csv", b"row\n1\n", "line 1: 'row'"),
        ("m.csv", b"1,2\n", "line 1: '1,2'"),
        ("m.txt", b"\xff\xfe", "UTF-8"),
        ("m.npy", b"hello", "not a readable .npy"),
        ("m.npy", b"", "not a readable .npy"),
    ],
)
def test_files_that_are_no_list_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        split(membership="index", members_file=tmp_path / name)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(60, dtype=bool), "flatnonzero"),
        (np.ones(3), "expected one dimension of integers"),
        (np.ones((2, 2), dtype=int), "expected one dimension of integers"),
        (np.array([], dtype=int), "lists no rows|not a readable"),
        (np.array([2**64 - 1], dtype=np.uint64), "out of range"),
        (np.array([None, 1], dtype=object), "pickled"),
    ],
)
def test_arrays_that_are_no_list_are_refused(tmp_path, array, message):
    np.save(tmp_path / "m.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        split(membership="index", members_file=tmp_path / "m.npy")


def test_too_few_rows_are_refused_with_the_sizes():
    with pytest.raises(DataError, match=r"steer.members 1, sealed.members 1.*at least 4"):
        split(members=2)
    with pytest.raises(DataError, match=r"sealed\.nonmembers 0"):
        split(members=60)
    with pytest.raises(DataError, match=r"steer\.nonmembers 0.*reference 30"):
        split(reference=100)


def test_classes_no_member_has_are_reported():
    labels = np.array(["rare" if i >= 57 else "common" if i % 2 else "other" for i in range(60)])
    splits = splits_from_arrays(
        X[:40],
        labels[:40],
        test=(X[40:], labels[40:]),
        seed=0,
        split=SplitConfig(membership="pair"),
    )
    assert splits.class_names == ("common", "other", "rare")
    assert splits.report.classes_without_members == ("rare",)


def test_rows_are_float32_and_int64_and_carry_their_index():
    splits = split()
    assert splits.members.inputs.dtype == torch.float32
    assert splits.members.inputs.is_contiguous()
    assert splits.members.labels.dtype == torch.int64
    np.testing.assert_array_equal(splits.members.labels, Y[splits.members.ids])
    assert repr(splits).startswith("Splits(members=30")
