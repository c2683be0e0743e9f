"""`app` and `main`: the commands, and the exit codes and messages of uncaught errors.

Exit codes: 0 pass, 1 a critical check failed, 2 usage or bad input, 3 inconclusive, 4 a check or
the program itself could not do its work, 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from safecompress.cli.console import mute_stdout, print_anything, say
from safecompress.cli.verbs import Verbs, listed
from safecompress.errors import SafeCompressError
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
    try:
        app()
    except SafeCompressError as error:
        _print_error(str(error))
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        _print_error("interrupted.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader has closed the pipe (for example `| head`), so no message can be shown.
        mute_stdout()
        raise SystemExit(4) from None
    except Exception as error:
        traceback.print_exc()
        _print_error(f"internal error: {error!r}. Please report it with the lines above.")
        raise SystemExit(4) from None


def _print_error(text: str) -> None:
    sys.stderr.write(f"safecompress: {text}\n")
