"""`show_outcome`: the figures and the verdict that a command prints last, as text or as JSON."""

from __future__ import annotations

from pathlib import Path

import typer

from safecompress.cli.console import mute_stdout, print_json
from safecompress.cli.table import comparison_table
from safecompress.run.folder import REPORT
from safecompress.verdicts.verdict import Verdict


def show_outcome(verdict: Verdict, folder: Path, *, as_json: bool) -> None:
    """Print the table and the verdict, or the last line of `--json`.

    Args:
        verdict: the verdict.
        folder: folder of the report.
        as_json: whether to print JSON.
    """
    try:
        if as_json:
            print_json(
                {
                    "event": "verdict",
                    "text": verdict.sentence,
                    "status": str(verdict.status),
                    "exit_code": verdict.exit_code,
                    "folder": str(folder),
                    "report": str(folder / REPORT),
                }
            )
        else:
            comparison_table(verdict.document)
            typer.echo(f"\n{verdict.status}: {verdict.sentence}")
            typer.echo(f"report: {folder / REPORT}")
    except BrokenPipeError:
        mute_stdout()
