"""A package that publishes a data source, named in a configuration with options of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from safecompress import compress, load
from safecompress.cli.app import app
from safecompress.config import dump_yaml, load_config, parse_yaml
from safecompress.data import SOURCES, load_source
from safecompress.errors import ConfigError, DataError, MembershipError
from tests.plugins import install

SOURCE = '''
from dataclasses import dataclass

import numpy as np

from safecompress.data import Column, DataSource, RawData, raw_from_arrays
from safecompress.errors import ConfigError


@dataclass(frozen=True)
class Blobs(DataSource):
    """Clouds of points, one for each class."""

    rows: int = 400
    code: str = ""
    test_rows: int = 0
    does: str = "well"

    def __post_init__(self):
        if self.rows < 4:
            raise ConfigError(f"rows is {self.rows}; expected at least 4.")

    def load(self, *, seed):
        draw = np.random.default_rng(seed)

        def some(n):
            y = np.arange(n) % 3
            return draw.normal(size=(n, 6)) + 3 * np.eye(6)[y], y

        if self.does == "raise":
            raise RuntimeError("the disk is gone")
        if self.does == "exit":
            raise SystemExit(0)
        if self.does == "number":
            x, y = some(self.rows)
            return RawData((Column("x", "categorical", y),), y, ("a", "b", "c"), where="blobs")
        if self.does == "forget":
            return some(self.rows)
        test = some(self.test_rows) if self.test_rows else None
        return raw_from_arrays(*some(self.rows), test=test, where="blobs")
'''
TRAIN: dict[str, Any] = {"epochs": 2, "batch_size": 32, "precision": "32-true"}


def settings(**options: Any) -> dict[str, Any]:
    return {
        "data": {"source": {"source": "blobs", **options}},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "dense": TRAIN,
        "sparse": {"density": 0.5, "rounds": 1, "train": TRAIN},
        "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
        "baselines": [],
        "engine": {"threads": 1},
    }


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = "blobs_source:Blobs"
    install(
        tmp_path / "site",
        "blobs-source",
        points={"blobs": value, "npz": value},
        code=SOURCE,
        group="safecompress.sources",
    )
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_it_is_listed_and_replaces_none() -> None:
    listed = CliRunner().invoke(app, ["list", "sources"]).output
    assert listed.count("Clouds of points, one for each class.") == 1
    assert SOURCES.parts["npz"].factory.__name__ == "NpzRows"


def test_a_configuration_compresses_its_rows(tmp_path: Path) -> None:
    file, out = tmp_path / "config.yaml", tmp_path / "run"
    # An option may be called as something that sections of configurations have.
    file.write_text(dump_yaml(load_config(settings(rows=300, code="anything"))))
    result = CliRunner().invoke(app, ["compress", str(file), "--out", str(out)])
    assert result.exit_code in {0, 1, 3}, (result.output, result.exception)
    assert json.loads((out / "verdict.json").read_text())["verdict"] != "ERROR"
    # The run's folder says where its rows are from, so that its model can be had back.
    assert load(out)(load_rows(out)).shape == (300, 3)


def load_rows(out: Path) -> Any:
    import torch

    config = load_config(out / "config.yaml")
    assert config.data is not None
    raw = load_source(config.data.source, seed=config.seed)
    assert isinstance(raw.columns, np.ndarray)
    return torch.from_numpy(raw.columns).float()


def test_the_same_seed_gives_the_same_rows() -> None:
    config = load_config(settings()).data
    assert config is not None
    first, again, other = (load_source(config.source, seed=s).columns for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_its_options_survive_the_file_of_a_configuration() -> None:
    config = load_config(settings(rows=7, code="a:b", does="raise"))
    assert load_config(parse_yaml(dump_yaml(config), where="dump")) == config
    assert config.data is not None
    assert config.data.source.part_options == {"rows": 7, "code": "a:b", "does": "raise"}


def test_its_train_part_may_be_the_members(tmp_path: Path) -> None:
    given = settings(rows=200, test_rows=100)
    given["data"]["split"] = {"membership": "pair"}
    compress(config=given, out=tmp_path / "run")
    one_part = settings(rows=200)
    one_part["data"]["split"] = {"membership": "pair"}
    with pytest.raises(MembershipError, match=r"blobs: split\.membership is 'pair' but"):
        compress(config=one_part, out=tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"rws": 3}, ConfigError, r"data.source.blobs: unknown option 'rws'; did you mean 'rows'"),
        ({"rows": 3}, ConfigError, r"data.source.blobs: rows is 3; expected at least 4"),
        ({"does": "raise"}, DataError, "blobs: loading raised RuntimeError: the disk is gone"),
        ({"does": "exit"}, DataError, "blobs: loading raised SystemExit: 0"),
        ({"does": "number"}, DataError, "blobs: column 'x' is categorical and not of texts"),
        ({"does": "forget"}, DataError, "blobs: load returned a tuple; expected RawData"),
        ({"source": "blob"}, ConfigError, "no data source is called 'blob'; did you mean 'blobs'"),
    ],
)
def test_what_is_wrong_with_it_is_said_before_training(
    options: dict[str, Any], error: type[Exception], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        compress(config=settings(**options), out=tmp_path / "run")
    assert not (tmp_path / "run" / "verdict.json").exists()
