"""The package as a whole: light to import, silent, and exact about its public names."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# Fresh interpreters: this process has imported everything already.
_IMPORT = """
import json, sys

def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise RuntimeError(f"import touched the network: {event} {arguments}")

sys.addaudithook(forbid)
before = set(sys.modules)
import safecompress
"""

HEAVY = (
    "sklearn.ensemble",
    "sklearn.linear_model",
    "matplotlib",
    "pandas",
    "onnx",
    "onnxruntime",
    "ray",
    "transformers",
    "tensorboard",
    "IPython",
)


def _after_import(expression: str) -> Any:
    """Return the value of `expression` in a new interpreter that has imported the package."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{_IMPORT}\nprint(json.dumps({expression}))"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def imported() -> Any:
    """What `import safecompress` loads and shows."""
    # Submodules become attributes when they are imported; `annotations` is the future import.
    return _after_import(
        "{"
        "'modules': sorted(set(sys.modules) - before),"
        "'all': list(safecompress.__all__),"
        "'missing': [n for n in safecompress.__all__ if not hasattr(safecompress, n)],"
        "'public': sorted(n for n in vars(safecompress) if not n.startswith('_')"
        " and n != 'annotations' and (n in safecompress.__all__"
        " or f'safecompress.{n}' not in sys.modules)),"
        "}"
    )


@pytest.mark.parametrize("heavy", HEAVY)
def test_importing_the_package_loads_nothing_heavy(imported: Any, heavy: str) -> None:
    loaded = [m for m in imported["modules"] if m == heavy or m.startswith(f"{heavy}.")]
    assert loaded == []


def test_importing_the_package_loads_the_package(imported: Any) -> None:
    assert "safecompress.errors" in imported["modules"]


def test_every_name_in_all_exists_and_none_is_given_twice(imported: Any) -> None:
    assert imported["missing"] == []
    assert len(imported["all"]) == len(set(imported["all"]))


def test_no_public_name_leaks(imported: Any) -> None:
    assert imported["public"] == sorted(imported["all"])


def test_the_command_line_starts_without_a_network_or_heavy_modules() -> None:
    loaded = _after_import(
        "__import__('importlib').import_module('safecompress.cli') and"
        f" sorted(set(sys.modules) & set({HEAVY!r}))"
    )
    assert loaded == []
