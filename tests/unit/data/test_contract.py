"""Every registered data source keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from safecompress.data import SOURCES, Column, DataSource, RawData, raw_from_arrays
from safecompress.data.contract import violations
from safecompress.errors import DataError
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
    ],
}


@cases(BREACHES)
def test_a_broken_source_is_caught(part, expected):
    _KEPT.clear()
    assert_caught(violations(part), expected)


def test_a_sound_source_of_somebody_else_passes():
    assert violations(Mine()) == ()


@pytest.fixture
def options(tmp_path):
    """Options that each registered source is built with."""
    np.savez(tmp_path / "a.npz", x=np.eye(6, 4), y=np.arange(6) % 2)
    (tmp_path / "a.csv").write_text("v,w,label\n" + "".join(f"{i},b,{i % 2}\n" for i in range(6)))
    (tmp_path / "rows_of_the_contract.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def make(n):\n    return TensorDataset(torch.randn(n, 3), torch.arange(n) % 2)\n"
    )
    return {
        "npz": {"path": tmp_path / "a.npz"},
        "csv": {"path": tmp_path / "a.csv"},
        "sklearn": {"name": "make_moons", "options": {"n_samples": 20}},
        "torch": {"factory": "rows_of_the_contract:make", "options": {"n": 8}},
    }


@pytest.mark.parametrize("name", sorted(SOURCES.all()))
def test_every_registered_source_keeps_the_contract(name, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = SOURCES.build({name: options.get(name, {})}, where="test")
    assert violations(source) == ()
    assert violations(source, seed=7) == ()
