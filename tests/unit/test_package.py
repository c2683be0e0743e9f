"""The package as a whole: light to import, silent, and exact about its public names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from typing import Any

import pytest
from typer.testing import CliRunner

import safecompress
from safecompress.cli import app
from tests.documents import ROOT

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
        "'public': sorted(n for n in vars(safecompress)"
        " if (not n.startswith('_') or n == '__version__')"
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


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_that_of_the_project_file() -> None:
    assert safecompress.__version__ == version("safecompress") == PROJECT["version"]


def test_the_newest_version_with_changes_is_this_one() -> None:
    titles = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == ("Unreleased", "")
    newest, date = titles[1]
    assert newest == safecompress.__version__
    assert re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date)


def test_the_command_tells_its_version_without_loading_torch() -> None:
    module, _, function = PROJECT["scripts"]["safecompress"].partition(":")
    code = (
        "import importlib, sys; sys.argv = ['safecompress', '--version'];"
        f"importlib.import_module({module!r}).{function}();"
        "print(sorted({'torch', 'numpy', 'typer', 'safecompress'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [f"safecompress {PROJECT['version']}", "[]"]


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "demo"]])
def test_the_version_is_an_option_of_the_command_line_too(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.output) == (0, f"safecompress {PROJECT['version']}\n")


def test_the_command_hands_everything_else_to_the_command_line() -> None:
    code = "import sys; sys.argv = ['safecompress', 'list', 'nothing'];"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} import safecompress_command as c; c.main()"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "no kind 'nothing'" in done.stderr


def test_every_module_beside_the_package_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    beside = [p.relative_to(ROOT).as_posix() for p in (ROOT / "src").glob("*.py")]
    assert sorted(packed) == sorted(["src/safecompress", *beside])
