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
def imported() -> set[str]:
    """Names of the modules that `import safecompress` loads."""
    return set(_after_import("sorted(set(sys.modules) - before)"))


@pytest.mark.parametrize("heavy", HEAVY)
def test_importing_the_package_loads_nothing_heavy(imported: set[str], heavy: str) -> None:
    assert not {name for name in imported if name == heavy or name.startswith(f"{heavy}.")}


def test_importing_the_package_loads_the_package(imported: set[str]) -> None:
    assert "safecompress.errors" in imported


def test_every_name_in_all_exists_and_none_is_given_twice() -> None:
    missing = _after_import("[n for n in safecompress.__all__ if not hasattr(safecompress, n)]")
    names = _after_import("safecompress.__all__")
    assert missing == []
    assert len(names) == len(set(names))


def test_no_public_name_leaks() -> None:
    # Submodules become attributes when they are imported; `annotations` is the future import.
    leaked = _after_import(
        "sorted(n for n, v in vars(safecompress).items() if not n.startswith('_')"
        " and n not in safecompress.__all__ and n != 'annotations'"
        " and f'safecompress.{n}' not in sys.modules)"
    )
    assert leaked == []


def test_the_command_line_starts_without_a_network_or_heavy_modules() -> None:
    loaded = _after_import(
        "__import__('importlib').import_module('safecompress.cli') and"
        f" sorted(set(sys.modules) & set({HEAVY!r}))"
    )
    assert loaded == []
