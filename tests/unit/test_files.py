from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from safecompress import files
from safecompress.errors import DataError, StorageError
from safecompress.run.model_file import StoredModel, read_model, write_model
from safecompress.temporary_names import temporary_beside
from safecompress.topology import Topology


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_dead_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "a [1].json"
    own = temporary_beside(path)
    mark, _, mine = own.stem.rpartition("-")
    assert mine == str(os.getpid())
    printing = [sys.executable, "-c", "import os; print(os.getpid())"]
    dead = subprocess.run(printing, stdout=subprocess.PIPE, check=True).stdout
    stays = [f"{mark}-{os.getppid()}.tmp", f".a [1].json.0000-{int(dead)}.tmp", "a [1].json.tmp"]
    for name in [*stays, f"{mark}-{int(dead)}.tmp"]:
        (tmp_path / name).write_text("half")
    (tmp_path / f"{mark}-{int(dead)}.folder").mkdir()
    files.write_json(path, 1)
    with files.folder_beside(path) as folder:
        assert folder.is_dir()
    assert {p.name for p in tmp_path.iterdir()} == {*stays, path.name}


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + ".json")
    files.write_json(path, 1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_tensors_round_trip_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.tensor([True, False]),
        "c": torch.tensor(3.5, dtype=torch.float64),
        "d": torch.empty(0, 3),
        "e": torch.randn(4, 3).T,
    }
    files.write_tensors(tmp_path / "t.safetensors", tensors)
    back = files.read_tensors(tmp_path / "t.safetensors")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[k], tensors[k]) for k in tensors)
    assert files.tensors_digest(back) == files.tensors_digest(tensors)


def test_no_tensors_are_tensors_too(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "t.safetensors", {})
    assert files.read_tensors(tmp_path / "t.safetensors") == {}


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype"])
def test_digest_sees_every_change(change: str) -> None:
    base = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    other = dict(base)
    if change == "value":
        other["a"] = base["a"].clone()
        other["a"][1, 2] = 1e-30
    elif change == "name":
        other["c"] = other.pop("b")
    elif change == "shape":
        other["a"] = torch.zeros(3, 2)
    else:
        other["a"] = base["a"].to(torch.int32)
    assert files.tensors_digest(base) != files.tensors_digest(other)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"\x80\x04K\x01."])
def test_damaged_tensors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.safetensors"):
        files.read_tensors(path)


def _model() -> StoredModel:
    weights = {"l.weight": torch.randn(5, 3), "l.bias": torch.randn(5), "n": torch.tensor(3)}
    mask = torch.rand(5, 3) < 0.3
    return StoredModel(weights, Topology({"l.weight": mask}), {"model": "m", "lineage": []})


def test_model_file_round_trip(tmp_path: Path) -> None:
    stored = _model()
    write_model(tmp_path / "m.safetensors", stored)
    back = read_model(tmp_path / "m.safetensors")
    assert all(torch.equal(back.weights[k], stored.weights[k]) for k in stored.weights)
    assert torch.equal(back.topology.masks["l.weight"], stored.topology.masks["l.weight"])
    assert back.metadata == stored.metadata


def test_model_file_truncated_at_any_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model(path, _model())
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_model(path)


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    files.write_tensors(path, {"a": torch.zeros(1)})
    with pytest.raises(DataError, match="not written by SafeCompress"):
        read_model(path)


def test_a_flip_of_any_bit_of_a_model_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model(path, _model())
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(DataError):
            read_model(path)


def test_a_read_only_disk_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StorageError, match="not writable"):
        files.write_text(tmp_path / "a.txt", "new")


def test_a_folder_that_is_gone_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="its folder is gone"):
        files.write_text(tmp_path / "gone" / "a.txt", "new")


def test_a_digest_of_the_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)
    whole = files.sha256(path)
    assert files.sha256(path, length=3_000_000) == whole
    short = files.sha256(path, length=2_000_001)
    path.write_bytes((b"abc" * 1_000_000)[:2_000_001])
    assert files.sha256(path) == short != whole
