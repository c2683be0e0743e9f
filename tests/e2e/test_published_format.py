"""A package that publishes an export format: numpy arrays and a reader of ten lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safecompress import compress, export
from safecompress.cli.app import app
from safecompress.cli.part import part_request
from safecompress.errors import ConfigError, ModelError, PartError
from safecompress.export import FORMATS, verify
from tests.plugins import install

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FORMAT = '''
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safecompress.errors import ModelError
from safecompress.export import Format, Session


def layers(path):
    arrays = np.load(path)
    names = sorted(arrays.files, key=lambda name: int(name.split(".")[0]) if "." in name else -1)
    return [(arrays[n], arrays[n.replace("weight", "bias")]) for n in names if "weight" in n]


def answers(path, rows):
    *hidden, last = layers(path)
    for weight, bias in hidden:
        rows = np.maximum(rows @ weight.T + bias, 0)
    return (rows @ last[0].T + last[1]).astype(np.float32)


@dataclass(frozen=True)
class MlpArrays(Format):
    """The linear layers of a network as numpy arrays."""

    name = "mlp-arrays"
    summary = "for readers with numpy alone"
    suffixes = (".npz",)
    computes = True

    shift: int = 0
    forget: bool = False
    does: str = ""

    def write(self, context, facts):
        if self.does == "text":
            return "text"
        if self.does == "raise":
            raise KeyError("planted")
        held = io.BytesIO()
        state = {n: t.numpy() for n, t in context.module.state_dict().items()}
        weights = [n for n in state if n.endswith("weight")]
        for place, name in enumerate(weights):
            state[f"{place}.weight"] = state.pop(name)
            state[f"{place}.bias"] = state.pop(name.replace("weight", "bias"))
        last = f"{len(weights) - 1}."
        for part in ("weight", "bias"):
            state[last + part] = np.roll(state[last + part], self.shift, axis=0)
        told = {} if self.forget else dict(facts)
        np.savez(held, facts=np.array(json.dumps(told)), **state)
        return held.getvalue()

    def open(self, path, context):
        if self.does == "exit":
            raise SystemExit(0)
        return lambda inputs: answers(path, inputs.numpy())

    def verify(self, path):
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise ModelError(f"{path}: damaged.")
            return dict(json.loads(str(np.load(path)["facts"])))
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise ModelError(f"{path}: no arrays of a network ({error}).") from error

    def session(self, path, *, threads):
        return Session("numpy", lambda feed: answers(path, feed["inputs"]))
'''
TRAIN: dict[str, Any] = {"lr": 0.05, "batch_size": 32, "precision": "32-true"}
SETTINGS: dict[str, Any] = {
    "data": {"source": {"source": "sklearn", "name": "digits"}},
    "model": {"name": "mlp", "options": {"hidden": [32]}},
    "dense": {"epochs": 4, **TRAIN},
    "sparse": {"density": 0.3, "rounds": 1, "train": {"epochs": 3, **TRAIN}},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    "verdict": {
        "checks": [
            {"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}},
        ]
    },
    "engine": {"threads": 1},
}
NAME = "mlp-arrays"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    compress(config=SETTINGS, out=folder)
    return folder


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = "mlp_arrays:MlpArrays"
    install(
        tmp_path / "site",
        "mlp-arrays",
        points={NAME: value, "onnx": value},
        code=FORMAT,
        group="safecompress.formats",
    )
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_it_is_listed_and_replaces_none() -> None:
    result = CliRunner().invoke(app, ["list", "formats"])
    listed = result.output
    assert listed.count("The linear layers of a network as numpy arrays.") == 1
    assert type(FORMATS.build("onnx", where="test")).__name__ == "Onnx"


def test_its_file_is_tested_again_measured_and_verified(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    arguments = ["export", str(run), "--out", str(path), "--format", NAME, "--measure"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(Path(f"{path}.json").read_text())
    assert document["status"] == "PASS"
    assert {"answers as before", "accuracy as before", "loss.auc as before"} <= {
        check["name"] for check in document["checks"]
    }
    assert document["retest"]["same_class"] == 1.0
    measured = document["measured"]
    assert set(measured["bytes"]) == {NAME, "onnx", "onnx-int8"}
    assert set(measured["latency"]["batches"]["1"]["ratios"]) == {"onnx", "onnx-int8"}
    assert measured["latency"]["runtime"].startswith(f"{NAME}: numpy; others: onnxruntime")
    assert measured["loading"] is None
    assert "Loading was not measured" in Path(f"{path}.md").read_text()
    assert verify(path)["format"] == NAME


def test_a_file_that_answers_wrongly_is_not_shipped(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    done = export(run, path, format={NAME: {"shift": 1}})
    assert (str(done.status), done.path, path.exists()) == ("FAIL", None, False)
    failed = {check.name for check in done.checks if str(check.status) == "FAIL"}
    assert {"answers as before", "accuracy as before"} <= failed
    assert "Not shipped" in Path(f"{path}.md").read_text()


def test_a_file_without_the_facts_is_an_error(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(ModelError, match=r"does not hold the facts.*format, model"):
        export(run, path, format={NAME: {"forget": True}})
    assert not path.exists()


def test_an_unknown_option_of_it_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'shfit'; did you mean 'shift'"):
        export(run, tmp_path / "m.npz", format={NAME: {"shfit": 1}})


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("text", "wrote str; expected bytes"),
        ("raise", "raised KeyError: 'planted'; take another, or ask its author"),
        ("exit", "raised SystemExit: 0; take another, or ask its author"),
    ],
)
def test_what_it_does_wrong_is_said_with_its_name(
    does: str, told: str, run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(PartError) as error:
        export(run, path, format={NAME: {"does": does}})
    assert str(error.value).startswith(f"export: the format '{NAME}' (mlp_arrays) {told}")
    assert not path.exists()


def test_the_command_line_takes_its_options(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    request = f"{{{NAME}: {{shift: 1}}}}"
    arguments = ["export", str(run), "--out", str(path), "--format", request]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    with pytest.raises(ConfigError, match=r"--format: not valid YAML"):
        part_request(f"{{{NAME}: {{shift", option="--format")
