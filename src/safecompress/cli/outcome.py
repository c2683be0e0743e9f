"""`show_outcome`, `next_lines`: the figures and the verdict that a command prints last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safecompress.cli.table import comparison_table
from safecompress.display.console import print_json, say
from safecompress.run.folder import REPORT
from safecompress.verdicts.document import AuditVerdict, CompressVerdict
from safecompress.verdicts.joint_document import JointVerdict
from safecompress.verdicts.verdict import Verdict


def show_outcome(verdict: Verdict, folder: Path, *, as_json: bool) -> None:
    """Print the table and the verdict, or the last line of `--json`.

    Args:
        verdict: the verdict.
        folder: folder of the report.
        as_json: whether to print JSON.
    """
    if as_json:
        print_json(
            {
                "event": "verdict",
                "text": verdict.sentence,
                "status": str(verdict.status),
                "exit_code": verdict.exit_code,
                "folder": str(folder),
                "report": str(folder / REPORT),
                "next_steps": list(verdict.document.next_steps),
            }
        )
    else:
        comparison_table(verdict.document)
        say(f"\n{verdict.status}: {verdict.sentence}")
        standard = verdict.document.standard or ""
        for line in (
            *next_lines(verdict.document.next_steps),
            f"standard: {standard}" if standard else "",
            _looks(verdict.document),
        ):
            if line:
                say(line)
        say(f"report: {folder / REPORT}")


def next_lines(steps: Sequence[str]) -> list[str]:
    """Return what to do next as lines, each named as such.

    Args:
        steps: sentences.
    """
    return [f"next: {step}" for step in steps]


def _looks(document: CompressVerdict | AuditVerdict | JointVerdict) -> str:
    """Return why the intervals are wider than asked for; empty at the first look."""
    if document.looks <= 1:
        return ""
    return (
        f"look {document.looks} at the same sealed rows: every look widens the intervals, to a "
        f"level of {document.level:.4g} by now, so that looking often enough is no way to pass"
    )
