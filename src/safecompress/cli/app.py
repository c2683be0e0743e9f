"""`app` and `main`: the commands, and where the command line starts."""

from __future__ import annotations

from typing import Annotated

import typer

from safecompress.cli.endings import run_to_an_end
from safecompress.cli.streams import print_anything
from safecompress.cli.verbs import Verbs, listed
from safecompress.display.console import say
from safecompress_command import version_line

app = typer.Typer(
    name="safecompress",
    cls=Verbs,
    help="Make a PyTorch model small, and prove with simulated attacks that it is safe to ship.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        say(version_line())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options of the command itself; each verb has its own."""


listed(app)


def main() -> None:
    """Run the command line; every uncaught exception ends in a message and an exit code."""
    print_anything()
    run_to_an_end(app)
