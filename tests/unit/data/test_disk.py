"""Rows that are read from disk as they are needed are the rows that memory would hold."""

from __future__ import annotations

import tracemalloc
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress import compress, splits_from_arrays
from safecompress.config import DataConfig
from safecompress.data import disk, load_splits
from safecompress.data.disk import is_mapped
from safecompress.data.rows import concatenate, named_tensors, rows_digest
from safecompress.errors import DataError, StorageError
from safecompress.protocols import Rows
from safecompress.protocols import rows as rows_module
from safecompress.protocols.rows import TakenRows


def _table(n: int = 600, width: int = 8, dtype: Any = np.float32) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, width)) * 20
    y = (x[:, 0] > 0).astype(np.int64)
    x[5], x[6] = x[4], -0.0 * x[4]
    return (x > 5).astype(dtype) if dtype == "bool" else x.astype(dtype), y


def _mapped(folder: Path, x: Any, name: str = "x.npy") -> Any:
    np.save(folder / name, x)
    return np.load(folder / name, mmap_mode="r")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "bool", "uint8"])
@pytest.mark.parametrize("features", ["auto", "none", "standardize"])
def test_mapped_rows_have_the_digests_of_rows_in_memory(
    tmp_path: Path, dtype: str, features: Any
) -> None:
    x, y = _table(dtype=dtype)
    given = {"seed": 1, "preprocessing": {"features": features, "scratch": str(tmp_path / "s")}}
    found = splits_from_arrays(_mapped(tmp_path, x), y, **given)
    known = splits_from_arrays(x, y, seed=1, preprocessing={"features": features})
    assert found.digests() == known.digests()
    assert found.preprocessor == known.preprocessor
    assert is_mapped(found.members.inputs)
    assert not is_mapped(known.members.inputs)
    assert list((tmp_path / "s").iterdir()) == []


def test_mapped_images_and_a_mapped_test_part_have_the_same_digests(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (90, 8, 8, 3), np.uint8), np.arange(90) % 3
    pair = {"split": {"membership": "pair"}, "weights_given": True, "seed": 0}
    known = splits_from_arrays(images[:50], labels[:50], test=(images[50:], labels[50:]), **pair)
    first, second = _mapped(tmp_path, images[:50]), _mapped(tmp_path, images[50:], "t.npy")
    for test in (second, images[50:]):
        found = splits_from_arrays(first, labels[:50], test=(test, labels[50:]), **pair)
        assert found.digests() == known.digests()


def test_the_npy_source_reads_what_the_npz_source_reads(tmp_path: Path) -> None:
    x, y = _table()
    np.savez(tmp_path / "d.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    sources = (
        {"source": "npz", "path": str(tmp_path / "d.npz")},
        {"source": "npy", "x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")},
    )
    configs = [DataConfig.model_validate({"source": source}) for source in sources]
    known, found = (load_splits(c, seed=3, weights_given=False) for c in configs)
    assert found.digests() == known.digests()
    assert is_mapped(found.members.inputs)


@pytest.mark.parametrize("fault", ["pickled", "cut short", "npz", "text", "missing"])
def test_a_damaged_npy_is_refused_with_its_name(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "x.npy"
    if fault == "pickled":
        np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
    elif fault == "cut short":
        np.save(path, np.zeros((50, 3)))
        path.write_bytes(path.read_bytes()[:300])
    elif fault == "npz":
        with path.open("wb") as file:
            np.savez(file, x=np.zeros((5, 3)))
    elif fault == "text":
        path.write_text("1,2,3")
    np.save(tmp_path / "y.npy", np.arange(50) % 2)
    source = {"source": "npy", "x": str(path), "y": str(tmp_path / "y.npy")}
    with pytest.raises(DataError, match=r"x\.npy"):
        load_splits(DataConfig.model_validate({"source": source}), seed=0, weights_given=False)


def test_infinite_mapped_values_are_named_by_their_rows(tmp_path: Path) -> None:
    x, y = _table(n=400, width=3, dtype=np.float64)
    x[[17, 321], 1] = np.inf
    with pytest.raises(DataError, match=r"2 rows.*17, 321"):
        splits_from_arrays(_mapped(tmp_path, x), y, seed=0)
    x[[17, 321], 1] = 1e300
    none = {"features": "none"}
    with pytest.raises(DataError, match="too large for float32"):
        splits_from_arrays(_mapped(tmp_path, x), y, seed=0, preprocessing=none)


def test_too_little_room_on_the_disk_is_told_before_rows_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = _table()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage(100, 90, 10))
    with pytest.raises(StorageError, match=r"preprocessing\.scratch"):
        splits_from_arrays(_mapped(tmp_path, x), y, seed=0)


def test_splitting_mapped_rows_takes_a_part_of_their_memory(tmp_path: Path) -> None:
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (8_000, 1_500))
    for part in range(0, 8_000, 1_000):
        file[part : part + 1_000] = np.random.default_rng(part).normal(size=(1_000, 1_500))
    file.flush()
    size = file.nbytes
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(8_000) % 2
    del file
    tracemalloc.start()
    try:
        splits = splits_from_arrays(x, y, seed=0)
        splits.digests()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Blocks are of 8 and 32 MiB, whatever the size of the table; a copy would be 64 MB and more.
    assert peak < 0.8 * size, (peak, size)
    assert x.nbytes == size


@pytest.mark.parametrize("inputs", ["one", "tuple", "mapping"])
def test_rows_that_refer_to_others_are_the_rows_that_a_copy_holds(
    inputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = torch.randn(30, 4), torch.arange(60).reshape(30, 2)
    given: Any = {"one": a, "tuple": (a, b), "mapping": {"z": a, "c": b}}[inputs]
    rows = Rows(given, torch.arange(30) % 3, torch.arange(30) + 100)
    mask = torch.arange(30) % 4 != 0
    known = rows.take(mask).take(torch.tensor([3, 1, -1, 1]))
    monkeypatch.setattr(rows_module, "TAKEN_BYTES", -1)
    middle = rows.take(mask)
    found = middle.take(torch.tensor([3, 1, -1, 1]))
    assert isinstance(middle, TakenRows)
    assert isinstance(found, TakenRows)
    assert rows_digest(found) == rows_digest(known)
    assert found.row_bytes == known.row_bytes
    for at in (torch.tensor([2, 0]), torch.tensor([1])):
        pairs = zip(
            named_tensors(Rows(found.batch(at), at, at)),
            named_tensors(Rows(known.batch(at), at, at)),
            strict=True,
        )
        assert all(n == m and torch.equal(t, u) for (n, t), (m, u) in pairs)
    changed = replace(found, labels=found.labels + 1)
    assert type(changed) is Rows
    assert torch.equal(changed.labels, known.labels + 1)
    copied = Rows(middle.inputs, middle.labels, middle.ids)
    assert rows_digest(concatenate(found, middle)) == rows_digest(concatenate(known, copied))


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


def test_a_run_on_mapped_rows_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = _table(n=300)
    brief = {"epochs": 1, "precision": "32-true", "batch_size": 32}
    config = {
        "dense": brief,
        "sparse": {"density": 0.5, "rounds": 1, "train": brief},
        "steer": {"proposals": ["soft-labels"], "attacks": ["loss"]},
        "teachers": {"folds": 2, "held_out": 1},
        "verdict": {
            "canaries": {"count": 10},
            "checks": [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}],
        },
        "baselines": [],
    }
    known = compress(_model, splits_from_arrays(x, y, seed=0), config=config, out=tmp_path / "a")
    monkeypatch.setattr(rows_module, "TAKEN_BYTES", -1)
    splits = splits_from_arrays(_mapped(tmp_path, x), y, seed=0)
    found = compress(_model, splits, config=config, out=tmp_path / "b")
    for name in ("model.safetensors", "dense.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    documents = [run.verdict.document.to_json() for run in (known, found)]
    assert len(_figures(documents[0])) > 1
    assert _figures(documents[0]) == _figures(documents[1])
    assert is_mapped(found.splits.members.inputs)


def _figures(document: Any) -> list[Any]:
    return [(c["name"], c["value"], c["low"], c["high"]) for c in document["checks"]]
