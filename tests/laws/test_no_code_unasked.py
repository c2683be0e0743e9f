"""No verb runs code that a file or folder names, whatever field names it."""

from __future__ import annotations

import ast
import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import safecompress
from safecompress import audit, compress, export, load
from safecompress.errors import SafeCompressError
from safecompress.report import write_report
from tests.support import count

SOURCE = Path(safecompress.__file__).parent
TRAIN = {"epochs": 1, "precision": "32-true"}
CONFIG: dict[str, Any] = {
    "data": {"source": {"source": "sklearn", "name": "iris"}},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "dense": TRAIN,
    "sparse": {"density": 0.5, "rounds": 1, "train": TRAIN},
    "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code") / "run"
    compress(config=CONFIG, out=folder)
    return folder


@pytest.fixture
def planted(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the run; a module of code that leaves a mark lies on the import path."""
    mark = tmp_path / "ran"
    (tmp_path / "planted_code.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
        "def make(*given, **options):\n    raise SystemExit\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("planted_code", None)
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


NAMED = "planted_code:make"
VERBS: dict[str, Callable[[Path], object]] = {
    "load": load,
    "resume": lambda folder: compress(resume=folder),
    "audit": audit,
    "audit against": lambda folder: audit(folder, against="dense"),
    "audit with shadows": lambda folder: audit(folder, shadows=4),
    "export": lambda folder: export(folder, folder.parent / "m.safetensors", format="safetensors"),
    "report": write_report,
}


def fields_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document that are text."""
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in fields_of(v, (*path, k))]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in fields_of(v, (*path, i))]
    return [path] if isinstance(value, str) else []


def planted_in(document: Any, path: tuple[Any, ...]) -> Any:
    copy = json.loads(json.dumps(document))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = NAMED
    return copy


def survive(verb: str, folder: Path) -> None:
    with contextlib.suppress(SafeCompressError):
        VERBS[verb](folder)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_configuration_that_names_code_runs_nothing(verb: str, planted: Path) -> None:
    document = yaml.safe_load((planted / "config.yaml").read_text())
    torch = {"source": "torch", "factory": NAMED, "options": {}}
    for change in ({"model": {"name": NAMED}}, {"data": document["data"] | {"source": torch}}):
        (planted / "config.yaml").write_text(yaml.safe_dump(document | change))
        survive(verb, planted)
        assert not (planted.parent / "ran").exists()


@pytest.mark.parametrize("verb", ["load", "audit", "export", "report"])
def test_code_in_any_text_of_any_file_runs_nothing(verb: str, planted: Path) -> None:
    for file in ("config.yaml", "verdict.json", "provenance.json", "figures.json"):
        text = (planted / file).read_text()
        document = yaml.safe_load(text) if file.endswith("yaml") else json.loads(text)
        paths = fields_of(document)
        # Figures hold hundreds of names of the same few kinds, so a part of them stands for all.
        for path in paths[:: max(1, len(paths) // count(8, 25))]:
            (planted / file).write_text(json.dumps(planted_in(document, path)))
            survive(verb, planted)
            assert not (planted.parent / "ran").exists(), (file, path)
        (planted / file).write_text(text)


def test_trusted_code_is_run(planted: Path) -> None:
    document = yaml.safe_load((planted / "config.yaml").read_text())
    (planted / "config.yaml").write_text(yaml.safe_dump(document | {"model": {"name": NAMED}}))
    with pytest.raises(SafeCompressError, match=r"trust_code=True"):
        load(planted)
    with pytest.raises((SafeCompressError, SystemExit)):
        load(planted, trust_code=True)
    assert (planted.parent / "ran").exists()


def test_only_one_function_reads_a_configuration_that_lies_in_a_folder() -> None:
    own = {
        "cli/compress.py",
        "cli/validate.py",
        "cohorts/cells.py",
        "compress.py",
        "config/reading.py",
        "loops/settings.py",
        "run/trusted.py",
    }
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_config":
                found.add(str(file.relative_to(SOURCE)))
    assert found <= own
