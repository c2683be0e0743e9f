"""Every registered data source keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safecompress.data import SOURCES, Column, DataSource, RawData, raw_from_arrays
from safecompress.data.contract import violations
from safecompress.errors import DataError
from tests.arrow_files import datasets_folder, parquet_file
from tests.contracts import assert_caught, cases

ROWS = 12


@dataclass(frozen=True)
class Mine(DataSource):
    """A few drawn rows of two classes."""

    features: int = 3

    def load(self, *, seed):
        x = np.random.default_rng(seed).normal(size=(ROWS, self.features))
        return raw_from_arrays(x, np.arange(ROWS) % 2, where="mine")


class Thawed(DataSource):
    def load(self, *, seed):
        return Mine().load(seed=seed)


class Pair(Mine):
    def load(self, *, seed):
        return np.zeros((ROWS, 3)), np.arange(ROWS) % 2


class FewNames(Mine):
    def load(self, *, seed):
        return replace(super().load(seed=seed), label_names=("0",))


class NothingButTest(Mine):
    def load(self, *, seed):
        return replace(super().load(seed=seed), test_from=0)


class SameNames(Mine):
    def load(self, *, seed):
        raw = super().load(seed=seed)
        columns = tuple(Column("a", "numeric", raw.columns[:, i]) for i in (0, 1))
        return replace(raw, columns=columns)


class Holes(Mine):
    def load(self, *, seed):
        raw = super().load(seed=seed)
        return replace(raw, columns=np.where(raw.columns > 0, raw.columns, np.nan))


class Restless(Mine):
    def load(self, *, seed):
        return super().load(seed=None)


class Global(Mine):
    def load(self, *, seed):
        np.random.seed(seed)
        return super().load(seed=np.random.randint(1 << 30))


_KEPT: dict[str, RawData] = {}


class Cached(Mine):
    def load(self, *, seed):
        return _KEPT.setdefault("rows", super().load(seed=seed))


class Gone(Mine):
    def load(self, *, seed):
        raise DataError("mine: no such file.")


class TwoLabels(Mine):
    def load(self, *, seed):
        raw = super().load(seed=seed)
        return replace(raw, labels=np.stack([raw.labels, raw.labels], axis=1))


class SmallLabels(Mine):
    def load(self, *, seed):
        raw = super().load(seed=seed)
        return replace(raw, labels=raw.labels.astype(np.int8))


class Mixed(Mine):
    def load(self, *, seed):
        raw = super().load(seed=seed)
        columns = (
            Column("whole", "numeric", np.arange(ROWS)),
            Column("word", "text", np.arange(ROWS).astype(object)),
            Column("when", "date", raw.columns[:, 0]),
        )
        return replace(raw, columns=columns)


class Grows(Mine):
    def load(self, *, seed):
        return type(self).__mro__[1](features=3 + (seed or 0)).load(seed=seed)


class SometimesApart(Mine):
    def load(self, *, seed):
        return replace(super().load(seed=seed), test_from=6 if seed else None)


class NeedsASeed(Mine):
    def load(self, *, seed):
        return super().load(seed=seed + 1)


@dataclass(frozen=True)
class OfAFile(Mine):
    """Lines of a label and numbers."""

    path: str = str(Path(__file__).with_name("rows.tsv"))

    def content(self):
        try:
            return Path(self.path).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: {error}") from error

    def load(self, *, seed):
        try:
            rows = [[float(cell) for cell in line.split()] for line in self.content().splitlines()]
            table = np.array(rows)
            return raw_from_arrays(table[:, 1:], table[:, 0], where=self.path)
        except (ValueError, IndexError) as error:
            raise DataError(f"{self.path}: not a table of numbers ({error}).") from error


class Bare(OfAFile):
    def content(self):
        return Path(self.path).read_text("utf-8")


class Crashes(OfAFile):
    def content(self):
        if b"mkdir" in Path(self.path).read_bytes():
            raise RuntimeError("no table")
        return super().content()


class Vague(OfAFile):
    def content(self):
        try:
            return super().content()
        except DataError as error:
            raise DataError("mine: cannot be read.") from error


class MakesDo(OfAFile):
    def load(self, *, seed):
        try:
            return super().load(seed=seed)
        except DataError:
            return Mine().load(seed=0)


class Unpickles(OfAFile):
    def content(self):
        with suppress(OSError, pickle.UnpicklingError, EOFError, ValueError, KeyError):
            pickle.loads(Path(self.path).read_bytes())
        return super().content()


BREACHES = {
    "sources": [
        (Thawed(), "it is not a frozen dataclass"),
        (Pair(), "load returned a tuple; expected RawData"),
        (FewNames(), "labels run from 0 to 1, and label_names has 1 names"),
        (NothingButTest(), "test_from is 0 of 12 rows"),
        (SameNames(), "columns are called ['a', 'a']"),
        (Holes(), "its inputs: NaN or infinity"),
        (Restless(), "the same seed gives other rows"),
        (Global(), "it draws from a global random generator"),
        (Cached(), "what a caller does to the rows of one call"),
        (Gone(), "raised DataError: mine: no such file."),
        (TwoLabels(), "labels are int64 (12, 2); expected int64 (n,), one label a row"),
        (SmallLabels(), "labels are int8 (12,)"),
        (Mixed(), "column 'whole' is numeric and of type int64; expected float64"),
        (Mixed(), "column 'word' is text and not of texts"),
        (Mixed(), "column 'when' is 'date'; expected numeric or categorical or text"),
        (Grows(), "with another seed its rows are float64 (4,) without a test part"),
        (SometimesApart(), "with another seed its rows are float64 (3,) with a test part"),
        (NeedsASeed(), "raised TypeError"),
        (Bare(), "path: of a missing file it raised FileNotFoundError; expected a UsageError"),
        (Crashes(), "path: of a pickle it raised RuntimeError"),
        (Vague(), "'mine: cannot be read.', which does not name the file"),
        (MakesDo(), "path: it makes rows of an empty file"),
        (Unpickles(), "path: it runs code that is pickled in a pickle"),
    ],
}


@cases(BREACHES)
def test_a_broken_source_is_caught(part, expected):
    _KEPT.clear()
    assert_caught(violations(part), expected)


@pytest.mark.parametrize("source", [Mine(), OfAFile()], ids=repr)
def test_a_sound_source_of_somebody_else_passes(source):
    assert violations(source) == ()


@pytest.fixture
def options(tmp_path):
    """Options that each registered source is built with."""
    lines = "v,w,label\n" + "".join(f"{i},b,{i % 2}\n" for i in range(6))
    for part in "ab":
        np.savez(tmp_path / f"{part}.npz", x=np.eye(6, 4), y=np.arange(6) % 2)
        np.save(tmp_path / f"x{part}.npy", np.eye(6, 4))
        np.save(tmp_path / f"y{part}.npy", np.arange(6) % 2)
        for place in range(6):
            (tmp_path / f"images-{part}" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (3, 3), (40 * place, 0, 0))
            image.save(tmp_path / f"images-{part}" / "ab"[place % 2] / f"{place}.png")
        (tmp_path / f"{part}.csv").write_text(lines)
        rows = [{"v": i / 2, "w": "b", "label": i % 2} for i in range(6)]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "rows_of_the_contract.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def make(n):\n    return TensorDataset(torch.randn(n, 3), torch.arange(n) % 2)\n"
    )
    return {
        "npz": {"path": tmp_path / "a.npz", "test_path": tmp_path / "b.npz"},
        "npy": {
            **{"x": tmp_path / "xa.npy", "y": tmp_path / "ya.npy"},
            **{"test_x": tmp_path / "xb.npy", "test_y": tmp_path / "yb.npy"},
        },
        "images": {"path": tmp_path / "images-a", "test_path": tmp_path / "images-b"},
        "csv": {"path": tmp_path / "a.csv", "test_path": tmp_path / "b.csv"},
        "jsonl": {"path": tmp_path / "a.jsonl", "test_path": tmp_path / "b.jsonl"},
        "parquet": {"path": tmp_path / "a.parquet", "test_path": tmp_path / "b.parquet"},
        "datasets": {"path": tmp_path / "a", "test_path": tmp_path / "b"},
        "sklearn": {"name": "make_moons", "options": {"n_samples": 20}},
        "torch": {"factory": "rows_of_the_contract:make", "options": {"n": 8}},
    }


def written_arrow(folder):
    """Write the files of the sources that pyarrow reads; skips without it."""
    for part in "ab":
        columns = {"v": [i / 2 for i in range(6)], "w": ["b"] * 6, "label": [0, 1] * 3}
        parquet_file(folder / f"{part}.parquet", columns)
        datasets_folder(folder / part, columns)


@pytest.mark.parametrize("name", sorted(SOURCES.all()))
def test_every_registered_source_keeps_the_contract(name, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in {"parquet", "datasets"}:
        written_arrow(tmp_path)
    source = SOURCES.build({name: options.get(name, {})}, where="test")
    assert violations(source) == ()
    assert violations(source, seed=7) == ()
