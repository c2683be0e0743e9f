"""`safecompress init`: a commented starter configuration."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from safecompress.errors import ConfigError
from safecompress.files import write_text


def command(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("safecompress.yaml"),
) -> None:
    """Write a commented starter configuration; never overwrites a file."""
    if path.exists():
        raise ConfigError(f"{path}: exists already; choose another name.")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: no such folder.")
    write_text(path, files("safecompress.cli").joinpath("starter.yaml").read_text())
    typer.echo(f"wrote {path}; next: safecompress validate {path}")
