"""`safecompress init`: a commented starter configuration."""

from __future__ import annotations

import re
import textwrap
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.outputs import require_outputs
from safecompress.config import CompressConfig
from safecompress.config.options import descriptions
from safecompress.display.console import say
from safecompress.errors import ConfigError
from safecompress.files import make_folder, write_text

_PLACE = re.compile(r"^( *)#\? (\S+)$", re.MULTILINE)
_WIDTH = 100


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
    """Return the starter configuration.

    Each line `#? OPTION` of its template becomes the option's description in the schema, so that
    the two cannot differ.
    """
    described = descriptions(CompressConfig)

    def comment(place: re.Match[str]) -> str:
        margin = f"{place[1]}# "
        return textwrap.fill(
            described[place[2]],
            _WIDTH,
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,
            break_long_words=False,
        )

    template = files("safecompress.cli").joinpath("starter.yaml").read_text(encoding="utf-8")
    return _PLACE.sub(comment, template)
