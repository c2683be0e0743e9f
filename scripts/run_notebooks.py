"""Run the notebooks of docs/notebooks and store them with their outputs.

    python scripts/run_notebooks.py

`make notebooks` does it. A test runs them, too, and compares what they print with what is stored.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "docs" / "notebooks").glob("*.ipynb"))
_SECONDS = 600
"""The longest that one cell may take."""


def executed(path: Path) -> Any:
    """Return a notebook with the outputs of a new run, in a kernel and an empty folder of its own.

    Args:
        path: the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: when a cell raises.
    """
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
        # Sockets on the disk instead of ports, which every user of the machine could read.
        sockets_there = {"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}
        client = NotebookClient(
            notebook,
            config=Config(sockets_there),
            kernel_name="python3",
            timeout=_SECONDS,
            startup_timeout=_SECONDS,
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in _code(notebook):
        # Progress and warnings of libraries are of the machine, not of the lesson.
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


def gist(notebook: Any) -> list[list[str]]:
    """Return what must be the same of each cell of code on every machine, however numbers round.

    Args:
        notebook: as nbformat reads it.

    Returns:
        Of each cell the kinds of its outputs, and how checks and verdicts in them ended.
    """
    return [[part for output in cell.outputs for part in _gist(output)] for cell in _code(notebook)]


def _gist(output: Any) -> Iterator[str]:
    data = output.get("data", {})
    yield output.output_type + ("" if "image/png" not in data else " with a picture")
    text = output.get("text") or data.get("text/plain", "")
    yield from re.findall(r"\b(?:PASS|FAIL|INCONCLUSIVE|WARN|ERROR|NOT_RUN)\b", text)


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def main() -> None:
    """Write the notebooks anew."""
    import nbformat

    for path in NOTEBOOKS:
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
