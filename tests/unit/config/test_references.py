"""Environment variables in configurations: their names are kept, their values are used once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress import compress, load
from safecompress.config import dump_yaml, load_config, parse_yaml
from safecompress.errors import ConfigError

SECRET = "tok-${OTHER}-$${x}"
TRAIN = {"epochs": 2, "precision": "32-true"}
BASE: dict[str, Any] = {
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "dense": TRAIN,
    "sparse": {"density": 0.5, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
}
pieces = st.lists(st.sampled_from(["$", "{", "}", "$${", "${SECRET}", "SECRET", "~", "/", "."]))
texts = pieces.map("".join)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.delenv("OTHER", raising=False)


def meaning(text: str) -> str:
    """Return what a text stands for, found by reading it once from left to right."""
    said = ""
    while text:
        for sign, value in (("$${", "${"), ("${SECRET}", SECRET), (text[0], text[0])):
            if text.startswith(sign):
                said, text = said + value, text.removeprefix(sign)
                break
    return said


@settings(max_examples=40, deadline=None)
@given(texts, texts)
def test_what_is_written_is_read_as_the_same_and_holds_no_value(text: str, other: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", SECRET)
        options = {"plain": text, "deep": [{"x": other}]}
        config = load_config(BASE | {"model": {"name": "mlp", "options": options}})
        assert config.model is not None
        assert config.model.options == {"plain": meaning(text), "deep": [{"x": meaning(other)}]}
        changed = config.model_copy(update={"seed": 3})
        for one in (config, changed, load_config(config, assignments=["seed=5"])):
            written = dump_yaml(one)
            assert SECRET not in written
            assert load_config(parse_yaml(written, where="dump")) == one
            again = load_config(parse_yaml(written, where="dump"))
            assert dump_yaml(again) == written


@pytest.mark.parametrize("path", ["${SECRET}/x", "~/${SECRET}.npz", "./a/${SECRET}", "/${SECRET}"])
def test_a_path_is_found_from_another_folder(
    path: str, secret: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"source": {"source": "npz", "path": path}}
    config = load_config(BASE | {"data": data})
    written = dump_yaml(config)
    assert SECRET not in written
    monkeypatch.chdir(tmp_path)
    assert load_config(parse_yaml(written, where="dump")) == config


def test_a_value_that_was_changed_is_written_as_it_is(secret: None) -> None:
    config = load_config(BASE | {"out": "${SECRET}"})
    changed = config.model_copy(update={"out": Path("elsewhere${a}")})
    assert "out: elsewhere$${a}" in dump_yaml(changed)


def test_a_digest_is_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def digested(lr: str) -> str:
        monkeypatch.setenv("RATE", lr)
        return dump_yaml(load_config(BASE, assignments=["dense.lr=${RATE}"]), values=True)

    assert digested("0.1") != digested("0.2")
    assert "0.1" in digested("0.1")


def test_a_run_folder_holds_no_value_and_loads_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET", "tok-123")
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "tok-123.npz", x=draw.normal(size=(120, 4)), y=draw.integers(0, 2, 120))
    source = {"source": "npz", "path": f"{tmp_path}/${{SECRET}}.npz"}
    config = BASE | {"data": {"source": source}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    run = compress(config=tmp_path / "c.yaml", out=tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert [path for path in files if b"tok-123" in path.read_bytes()] == []
    assert "/${SECRET}.npz" in (run.folder / "report.html").read_text()
    monkeypatch.delenv("SECRET")
    load(run.folder)
    with pytest.raises(ConfigError, match=r"data.source.path.*SECRET, which is not set"):
        load_config(run.folder / "config.yaml")
