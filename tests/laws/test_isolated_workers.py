"""Neither a verb nor a process that it starts imports a file merely because it lies there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from safecompress.errors import ModelError
from safecompress.imports import current_folder_importable, import_callable, isolated_path
from tests.planted_modules import plant_modules, ran

TRAIN = {"epochs": 10, "lr": 0.05, "precision": "32-true"}
CONFIG = {
    "data": {"source": {"source": "sklearn", "name": "iris"}},
    "model": {"name": "model_of_mine:make"},
    "shadows": {"count": 4, "workers": 2},
    "dense": TRAIN,
    "sparse": {"density": 0.5, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    "engine": {"threads": 2, "accelerator": "cpu"},
}
MODULE = """
import json, queue
import torch
import helper_of_mine
def make(input_shape, classes):
    return torch.nn.Sequential(torch.nn.Linear(input_shape[0], 8), torch.nn.ReLU(),
                               torch.nn.Linear(8, classes))
"""
VERBS = [
    ["validate", "own.yaml"],
    ["compress", "own.yaml", "--out", "own"],
    ["audit", "own", "--trust-code", "--out", "audited"],
    ["export", "own", "--trust-code", "--format", "safetensors", "--out", "f.safetensors"],
    ["report", "own"],
    ["init", "new.yaml"],
    ["list"],
]
RUN = """
import json, sys
from safecompress.cli.app import app
codes = []
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments)
    except SystemExit as end:
        codes.append(end.code)
    except Exception as error:
        codes.append(repr(error))
print(json.dumps(codes))
"""


def test_files_named_like_modules_are_never_imported(tmp_path: Path) -> None:
    plant_modules(tmp_path)
    (tmp_path / "model_of_mine.py").write_text(MODULE)
    (tmp_path / "helper_of_mine.py").write_text("")
    (tmp_path / "own.yaml").write_text(json.dumps(CONFIG))
    # `-P` stands for the installed command, whose import path begins with the folder of commands.
    command = [sys.executable, "-P", "-c", RUN, json.dumps(VERBS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran(tmp_path) == ""
    codes = json.loads(done.stdout.splitlines()[-1])
    # Tiny runs pass or fail or are undecided; none is a wrong use or a crash.
    assert [code for code in codes if code not in (None, 0, 1, 3)] == [], done.stderr[-2000:]
    assert (tmp_path / "own" / "verdict.json").exists()


def test_a_folder_that_holds_modules_is_looked_through_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    (tmp_path / "wave.py").write_text("def make(): ...\n")
    before = list(sys.path)
    with (
        current_folder_importable(),
        pytest.raises(ModelError, match=r"wave \(.*wave\.py\) has no 'make'"),
    ):
        import_callable("wave:make", where="model", error=ModelError)
    assert sys.path == before


def test_the_path_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, other = str(tmp_path), str(tmp_path / "other")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for path, expected in (
        ([other], ([other], [])),
        (["", other], ([other], [here])),
        ([here, other, here], ([other], [here])),
    ):
        monkeypatch.setattr(sys, "path", path)
        assert isolated_path() == expected
    monkeypatch.setenv("PYTHONPATH", "other:.")
    assert isolated_path() == ([here, other, here], [])
