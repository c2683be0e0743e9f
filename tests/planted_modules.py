"""Files in a folder with the names of everybody's modules, each of which leaves a mark when run."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

MARK = "ran.txt"


def plant_modules(folder: Path) -> None:
    """Write a file for every module of Python, of installed packages, and that Python looks for."""
    names = {*sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"}
    mark = folder / MARK
    for name in names:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(
                f"with open({str(mark)!r}, 'a') as mark:\n    mark.write('{name} ')\n"
                f"raise SystemExit('{name}')\n"
            )


def ran(folder: Path) -> str:
    """Return the names of the planted modules that ran."""
    mark = folder / MARK
    return mark.read_text() if mark.exists() else ""
