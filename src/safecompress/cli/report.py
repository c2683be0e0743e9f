"""`safecompress report`: write the report of finished runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.console import say
from safecompress.report import write_report


def command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
) -> None:
    """Write the report of finished runs from their files."""
    for run in runs:
        say(str(write_report(run)))
