"""The package's names are imported when they are asked for, and stay what they are."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import safecompress


@pytest.mark.parametrize("name", safecompress.__all__)
def test_a_name_is_no_module(name: str) -> None:
    assert not isinstance(getattr(safecompress, name), ModuleType)


def test_modules_of_a_functions_name_are_imported_first_in_a_process_of_their_own() -> None:
    code = (
        "import safecompress.audit, safecompress.compare, safecompress.export.card\n"
        "from safecompress import audit, compare, compress, export\n"
        "assert all(callable(verb) for verb in (audit, compare, compress, export))\n"
        "import safecompress\n"
        "assert callable(safecompress.export) and 'audit' in dir(safecompress)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'adit'"):
        _ = safecompress.adit  # type: ignore[attr-defined]
