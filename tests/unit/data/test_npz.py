"""Every unusable .npz ends in one readable DataError; usable ones come out as they went in."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from safecompress.config import NpzSource
from safecompress.data import load_source
from safecompress.errors import DataError

X = np.arange(24.0).reshape(8, 3)
Y = np.array([0, 1] * 4)


def source(path: Path, **keys) -> NpzSource:
    return NpzSource(source="npz", path=path, **keys)


def saved(path: Path, **arrays) -> NpzSource:
    np.savez_compressed(path, **arrays)
    return source(path)


def test_arrays_come_out_as_they_went_in(tmp_path):
    raw = load_source(saved(tmp_path / "a.npz", x=X, y=Y))
    np.testing.assert_array_equal(raw.columns, X)
    np.testing.assert_array_equal(raw.labels, Y)
    assert raw.label_names == ("0", "1")
    assert raw.test_from is None


def test_a_train_and_a_test_part_are_pooled_in_order(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, u=X[:2] + 100, v=Y[:2])
    raw = load_source(source(tmp_path / "a.npz", test_x="u", test_y="v"))
    assert raw.test_from == 8
    np.testing.assert_array_equal(raw.columns[8:], X[:2] + 100)
    assert len(raw.labels) == 10


@pytest.mark.parametrize("labels", [["cat", "dog"] * 4, [b"cat", b"dog"] * 4])
def test_string_labels_become_indices_in_sorted_order(tmp_path, labels):
    raw = load_source(saved(tmp_path / "a.npz", x=X, y=np.array(labels)))
    assert raw.label_names == ("cat", "dog")
    np.testing.assert_array_equal(raw.labels, Y)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, bool, np.uint64])
def test_whole_numbers_of_any_type_are_labels(tmp_path, dtype):
    raw = load_source(saved(tmp_path / "a.npz", x=X, y=Y.astype(dtype)))
    np.testing.assert_array_equal(raw.labels, Y)
    assert raw.labels.dtype == np.int64


def test_integer_labels_keep_their_index_where_a_class_is_missing(tmp_path):
    raw = load_source(saved(tmp_path / "a.npz", x=X, y=Y * 3))
    assert raw.classes == 4
    assert set(raw.labels) == {0, 3}


NAN = np.where(np.arange(24).reshape(8, 3) == 13, np.nan, X)
UNUSABLE = {
    "missing key": ({"X": X, "y": Y}, r"no array 'x'.*holds: X, y"),
    "pickled labels": ({"x": X, "y": np.array(["a", 1] * 4, dtype=object)}, "pickled"),
    "lengths": ({"x": X, "y": Y[:5]}, "8 rows of inputs but 5 labels"),
    "one dimension": ({"x": X[:, 0], "y": Y}, r"reshape\(-1, 1\)"),
    "no features": ({"x": X[:, :0], "y": Y}, "no features"),
    "nan": ({"x": NAN, "y": Y}, r"NaN or infinity in 1 rows \(first: 4\)"),
    "infinity": ({"x": np.where(X == 3, np.inf, X), "y": Y}, r"first: 1\b"),
    "soft labels": ({"x": X, "y": np.eye(2)[Y] * 0.9 + 0.05}, "argmax"),
    "labels of three dimensions": ({"x": X, "y": Y[:, None, None]}, "one label for every row"),
    "fractions": ({"x": X, "y": Y + 0.5}, r"no whole numbers in 8 rows \(first: 0.5 in row 0\)"),
    "nan label": ({"x": X, "y": np.where(Y == 1, np.nan, 0)}, "no whole numbers in 4 rows"),
    "negative": ({"x": X, "y": Y - 1}, r"negative labels in 4 rows \(first: 0, 2, 4\)"),
    "an identifier": ({"x": X, "y": Y * 10**9}, "1000000001 classes"),
    "one class": ({"x": X, "y": Y * 0 + 1}, "all 8 labels are '1'"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "no rows"),
    "texts": ({"x": np.array([["a"]] * 8), "y": Y}, "strings.*CSV"),
    "complex": ({"x": X + 1j, "y": Y}, "complex128"),
    "dates": ({"x": X.astype("datetime64[s]"), "y": Y}, "datetime64"),
    "fields": ({"x": np.zeros(8, dtype=[("a", int)]), "y": Y}, "named fields"),
    "complex labels": ({"x": X, "y": Y + 1j}, "labels of type complex128"),
}


@pytest.mark.parametrize(("arrays", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_arrays_are_refused_by_name(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        load_source(saved(tmp_path / "a.npz", **arrays))
    assert "a.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ((X[:, :2], Y), "same in both"),
        ((X.astype(np.uint8), Y), "same in both"),
        ((X, Y.astype(str)), "same kind in both"),
        ((X[:3], Y), "3 rows of inputs but 8 labels"),
    ],
)
def test_a_test_part_that_does_not_match_is_refused(tmp_path, test, message):
    np.savez(tmp_path / "a.npz", x=X, y=Y, u=test[0], v=test[1])
    with pytest.raises(DataError, match=message):
        load_source(source(tmp_path / "a.npz", test_x="u", test_y="v"))


def test_half_a_test_part_is_refused(tmp_path):
    saved(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(DataError, match="only test_x"):
        load_source(source(tmp_path / "a.npz", test_x="x"))


def test_a_near_miss_of_a_key_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=X, labels=Y)
    with pytest.raises(DataError, match=r"holds: images, labels; did you mean 'images'\?"):
        load_source(source(tmp_path / "a.npz", x="image", y="labels"))


def member(name: str, header: dict, payload: bytes = b"") -> tuple[str, bytes]:
    text = repr(header).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


def archived(path: Path, *members: tuple[str, bytes]) -> NpzSource:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return source(path)


def huge(shape: tuple[int, ...]) -> tuple[str, bytes]:
    return member("x.npy", {"descr": "<f8", "fortran_order": False, "shape": shape}, b"\0" * 64)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (huge((10**12, 8)), "GiB"),
        (huge((10**6, 8)), "does not hold that many"),
        (huge((2, 2)), "does not hold that many"),
        (("x.npy", b"not an array at all"), "damaged"),
        (("x.npy", b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16), "damaged"),
        (("x.npy", b"\x93NUMPY\x03\x00\x10\x00" + b"{" * 16), "npy version"),
        (("x.npy", b""), "damaged"),
    ],
    ids=["huge", "large", "trailing bytes", "no header", "torn header", "version", "empty"],
)
def test_a_lying_header_is_refused_before_memory_is_asked_for(tmp_path, x, message):
    with pytest.raises(DataError, match=message):
        load_source(archived(tmp_path / "a.npz", x, ("y.npy", b"")))


def test_a_forged_directory_entry_is_refused(tmp_path):
    size = 1 << 33
    x = member("x.npy", {"descr": "|u1", "fortran_order": False, "shape": (size, 1)}, b"\0" * 64)
    archived(tmp_path / "a.npz", x, ("y.npy", b""))
    data = (tmp_path / "a.npz").read_bytes()
    true = struct.pack("<I", len(x[1]))
    assert data.count(true) >= 2
    forged = data.replace(true, struct.pack("<I", 0xFFFFFFF0))
    (tmp_path / "a.npz").write_bytes(forged)
    with pytest.raises(DataError, match="damaged"):
        load_source(source(tmp_path / "a.npz"))


def test_a_file_cut_anywhere_is_refused(tmp_path):
    saved(tmp_path / "a.npz", x=X, y=Y)
    data = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(data), 37):
        (tmp_path / "a.npz").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"a\.npz"):
            load_source(source(tmp_path / "a.npz"))


def test_flipped_bytes_never_end_in_another_error(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    refused = 0
    for place in range(0, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        (tmp_path / "a.npz").write_bytes(changed)
        try:
            load_source(source(tmp_path / "a.npz"))
        except DataError:
            refused += 1
    assert refused > 10


def test_a_path_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", X)
    for name, message in [
        ("nothing.npz", "no such file"),
        ("", "is a directory"),
        ("text.npz", "not an .npz"),
        ("array.npy", "not an .npz"),
    ]:
        with pytest.raises(DataError, match=message):
            load_source(source(tmp_path / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    saved(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "a.npz").chmod(0)
    with pytest.raises(DataError, match="not readable"):
        load_source(source(tmp_path / "a.npz"))


def test_a_pickle_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    bomb = io.BytesIO()
    np.save(bomb, np.array([Bomb()] * 8, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="never read"):
        load_source(archived(tmp_path / "a.npz", ("x.npy", bomb.getvalue()), ("y.npy", b"")))
    assert not (tmp_path / "ran").exists()


def test_a_test_part_may_be_a_file_of_its_own(tmp_path):
    saved(tmp_path / "b.npz", x=X[:3] + 100, y=Y[:3], u=X[:2], v=Y[:2])
    ours = saved(tmp_path / "a.npz", x=X, y=Y)
    raw = load_source(ours.model_copy(update={"test_path": tmp_path / "b.npz"}))
    assert raw.test_from == 8
    np.testing.assert_array_equal(raw.columns[8:], X[:3] + 100)
    named = {"test_path": tmp_path / "b.npz", "test_x": "u", "test_y": "v"}
    assert len(load_source(ours.model_copy(update=named))) == 10
    with pytest.raises(DataError, match=r"c\.npz"):
        load_source(ours.model_copy(update={"test_path": tmp_path / "c.npz"}))
