"""`safecompress init`: a commented starter configuration."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.outputs import require_outputs
from safecompress.display.console import say
from safecompress.errors import ConfigError
from safecompress.files import make_folder, write_text

FILE = "starter.yaml"


def command(
    path: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")] = Path(
        "safecompress.yaml"
    ),
) -> None:
    """Write a commented starter configuration; never overwrites a file."""
    if path.exists():
        raise ConfigError(f"{path}: exists already; choose another name.")
    require_outputs(files={"PATH": path})
    make_folder(path.parent)
    write_text(path, starter())
    say(f"wrote {path}; next: safecompress validate {path}")


def starter() -> str:
    """Return the starter configuration, whose comments are the descriptions in the schema.

    `make reference` writes it, because the classes of a configuration take longer to import than
    all else that is done here.
    """
    return files("safecompress.cli").joinpath(FILE).read_text(encoding="utf-8")
