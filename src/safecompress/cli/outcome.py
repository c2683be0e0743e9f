"""How a command that judged a model ends: its figures and verdict, for people or for programs."""

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
        verdict: what the checks add up to.
        folder: where the report is.
        as_json: whether a program reads.
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
