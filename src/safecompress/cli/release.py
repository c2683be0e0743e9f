"""`safecompress release`: a run's model in several formats, judged together."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safecompress.audit import Limits
from safecompress.cli.compress import Json, Quiet
from safecompress.cli.objects import (
    Architecture,
    MinAgreement,
    SplitsGiven,
    TrustCode,
    architecture_of,
    splits_of,
)
from safecompress.cli.outcome import next_lines
from safecompress.cli.part import part_request
from safecompress.cli.table import comparison_table
from safecompress.display.console import EventDisplay, print_json, say
from safecompress.export.agreement import MIN_AGREEMENT
from safecompress.release import Release, release

_BETWEEN = re.compile(r",(?![^{]*\})")
"""A comma between two formats; one inside of braces stands between options."""


class Dense(StrEnum):
    """Where a run's dense model is, as the command line's values."""

    WITHHELD = "secret"
    PUBLISHED = "published"


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    formats: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help="Formats as of export, e.g. onnx,onnx-int8,onnx-sparse-int8."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the release.")],
    dense: Annotated[
        Dense,
        typer.Option(help="Whether the run's dense model is out in the world, too."),
    ] = Dense.WITHHELD,
    max_auc: Annotated[
        float | None,
        typer.Option(help="Most that any attack's AUC may be; the run's limit by default."),
    ] = None,
    min_agreement: MinAgreement = MIN_AGREEMENT,
    model: Architecture = None,
    splits: SplitsGiven = None,
    trust_code: TrustCode = False,
    allow_failed: Annotated[
        bool,
        typer.Option(
            "--allow-failed",
            help="Also release faithful files of a run or a set that failed; the exit code and "
            "every card still say so.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files in --out that no release wrote.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Export a run's model in several formats, test each file, and judge all of them together.

    Ends with the worst of all exports and of the joint verdict: 0 pass, 1 fail, 3 inconclusive, 4
    error. Where one ends in FAIL or ERROR nothing is released; --out/refused then says why.
    """
    with EventDisplay(quiet=quiet, as_json=as_json) as watcher:
        done = release(
            run,
            out,
            formats=[
                part_request(name.strip(), option="--formats") for name in _BETWEEN.split(formats)
            ],
            dense="published" if dense is Dense.PUBLISHED else "secret",
            limits=None if max_auc is None else Limits(max_auc=max_auc),
            min_agreement=min_agreement,
            model=None if model is None else architecture_of(model),
            data=None if splits is None else splits_of(splits),
            trust_code=trust_code,
            allow_failed=allow_failed,
            force=force,
            on_event=watcher,
        )
    if as_json:
        print_json(_summary(done))
    else:
        _show(done)
    raise typer.Exit(done.exit_code)


def _summary(done: Release) -> dict[str, object]:
    return {
        "event": "release",
        "status": str(done.status),
        "exit_code": done.exit_code,
        "shipped": done.shipped,
        "folder": str(done.folder),
        "files": {e.document.file.name: str(e.status) for e in done.exports},
        "sentence": "" if done.verdict is None else done.verdict.sentence,
    }


def _show(done: Release) -> None:
    for made in done.exports:
        document = made.document
        say(f"{document.file.name}: {made.status}: {document.sentence}")
    if done.document is not None:
        comparison_table(done.document)
        say(f"\n{done.document.verdict}: {done.document.sentence}")
    shipped = "released" if done.shipped else "not released; why"
    steps = (
        done.document.next_steps
        if done.document is not None
        else dict.fromkeys(step for made in done.exports for step in made.document.next_steps)
    )
    for line in next_lines(tuple(steps)):
        say(line)
    say(f"{shipped}: {done.folder}")
