"""The notebooks run from top to bottom, and end as they are stored."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from scripts.run_notebooks import NOTEBOOKS, executed, gist


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_ends_as_it_is_stored(path: Path) -> None:
    stored = gist(nbformat.read(path, as_version=4))
    assert any("with a picture" in kind for cell in stored for kind in cell)
    assert gist(executed(path)) == stored, "run `make notebooks` and commit the result"
