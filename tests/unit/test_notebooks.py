"""The notebooks run from top to bottom, and print what they are stored with, numbers aside."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from scripts.run_notebooks import NOTEBOOKS, executed, printed

pytest.importorskip("nbclient")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_is_stored_with(path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    assert any(output.data.get("image/png") for cell in stored.cells for output in _rich(cell))
    assert printed(executed(path)) == printed(stored), "run `make notebooks` and commit the result"


def _rich(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for output in cell.get("outputs", []) if "data" in output]
