"""`safecompress demo`: compress a small model on synthetic data."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.compress import Quiet, execute
from safecompress.errors import RunFolderError
from safecompress.run.folder import CONFIG


def command(
    out: Annotated[
        Path, typer.Option(help="Run folder; an earlier demo in it is replaced.")
    ] = Path("runs/demo"),
    quiet: Quiet = False,
) -> None:
    """Compress a small network on a synthetic data set and show the verdict.

    Exits with 0 when the run completed, whatever the verdict.
    """
    _clear(out)
    with as_file(files("safecompress.cli").joinpath("demo.yaml")) as config:
        execute(
            config,
            out=out,
            assignments=[],
            resume=None,
            trust_code=False,
            quiet=quiet,
            as_json=False,
        )


def _clear(out: Path) -> None:
    """Remove an earlier demo.

    Raises:
        RunFolderError: when the folder holds another run, which is left alone.
    """
    config = out / CONFIG
    if not config.exists():
        return
    marker = "name: make_classification"
    if marker not in config.read_text(errors="replace"):
        raise RunFolderError(f"{out}: holds another run; choose another --out.")
    shutil.rmtree(out)
