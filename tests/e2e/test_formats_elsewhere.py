"""Files answer by the lines on their cards where neither torch nor this library is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from safecompress.export import FORMATS
from tests.export_models import require_extras

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_formats.py"
DOCS = Path(__file__).parents[2] / "docs" / "export.md"
RUNTIMES = {
    "onnx-sparse-int8": "onnxruntime",
    "openvino-int8": "openvino",
    "safetensors-int8": "safecompress_reader",
    "litert": "ai_edge_litert",
}
"""A format of every runtime that needs no torch."""


def script() -> Any:
    spec = importlib.util.spec_from_file_location("run_formats", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("formats")
    script().write(made, list(RUNTIMES))
    return made


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, str]:
    """What a process without torch says of each file."""
    command = [sys.executable, str(SCRIPT), "run", str(folder), "--docs", str(DOCS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_file_answers_without_torch(name: str, said: dict[str, str]) -> None:
    require_extras(FORMATS.build(name, where="test"))
    pytest.importorskip(RUNTIMES[name], reason=f"{name} answers in {RUNTIMES[name]}")
    assert said[name].startswith("answers, 50 rows")


def test_the_program_for_litert_in_the_document_answers(said: dict[str, str]) -> None:
    require_extras(FORMATS.build("litert", where="test"))
    (found,) = [text for name, text in said.items() if name.endswith("LiteRT")]
    assert found.startswith("answers, 50 rows")


def test_a_file_that_answers_otherwise_is_a_fault(folder: Path) -> None:
    """Weights of another network are a file like any other to its runtime."""
    module = script()
    held = {"rows": module.np.ones((50, 64), "f4"), "logits": module.np.eye(50, 10)}
    code = "logits = -rows[:, :10]"
    assert module.outcome(code, held, exact=True).startswith("differs, 50 rows")
    assert module.outcome("import not_there", held, exact=True).startswith("left out, No module")
    assert module.outcome("logits = nothing", held, exact=True).startswith("fails, NameError")
