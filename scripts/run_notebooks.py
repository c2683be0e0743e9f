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


def printed(notebook: Any) -> list[str]:
    """Return what each cell of code shows as text, with all numbers left out.

    Args:
        notebook: as nbformat reads it.
    """
    return [re.sub(r"[\d.,\s]+", " ", "".join(_texts(cell))) for cell in _code(notebook)]


def _texts(cell: Any) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif "image/png" not in output.data:
            yield output.data["text/plain"]


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def main() -> None:
    """Write the notebooks anew."""
    import nbformat

    for path in NOTEBOOKS:
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
