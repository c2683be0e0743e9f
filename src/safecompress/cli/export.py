"""`safecompress export`: the file to ship, measured and tested again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from safecompress.display.console import EventDisplay, print_json, say
from safecompress.export import FORMATS, export
from safecompress.export.agreement import MIN_AGREEMENT
from safecompress.export.card import measured_lines
from safecompress.export.place import documents_of


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="The file; a compact one ending in .zst is packed.")],
    format: Annotated[  # noqa: A002 - the option's name
        str,
        typer.Option(
            help=f"One of {', '.join(FORMATS.parts)}, or another that `list formats` shows; with "
            "options as in {NAME: {option: value}}."
        ),
    ] = "onnx-sparse-int8",
    measure: Annotated[
        bool, typer.Option("--measure", help="Bytes, load time, memory, latency against dense.")
    ] = False,
    max_bytes: Annotated[int | None, typer.Option(help="Most bytes the file may have.")] = None,
    max_latency_ratio: Annotated[
        float | None, typer.Option(help="Most time for one row, as a share of dense fp32's.")
    ] = None,
    min_agreement: MinAgreement = MIN_AGREEMENT,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the measured runtime.")] = 1,
    model: Architecture = None,
    splits: SplitsGiven = None,
    trust_code: TrustCode = False,
    allow_failed: Annotated[
        bool,
        typer.Option(
            "--allow-failed",
            help="Also write a faithful file of a run that failed or was not judged; it still ends "
            "with the run's exit code.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file at --out that no export wrote.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a run's model as a file, load it in its own runtime and test it on the sealed rows.

    Ends with the worst of the run's verdict and the file's own checks: 0 pass, 1 fail, 3
    inconclusive, 4 error. A file that is not faithful to its model, misses a limit, or is of a run
    that ended in FAIL or ERROR is not written.
    """
    with EventDisplay(quiet=quiet, as_json=as_json) as watcher:
        done = export(
            run,
            out,
            format=part_request(format, option="--format"),
            measure=measure,
            max_bytes=max_bytes,
            max_latency_ratio=max_latency_ratio,
            min_agreement=min_agreement,
            threads=threads,
            model=None if model is None else architecture_of(model),
            data=None if splits is None else splits_of(splits),
            trust_code=trust_code,
            allow_failed=allow_failed,
            force=force,
            on_event=watcher,
        )
    document = done.document
    if as_json:
        print_json({"event": "export", "exit_code": done.exit_code, **document.to_json()})
    else:
        for line in measured_lines(document.measured):
            say(line)
        say(f"\n{done.status}: {document.sentence}")
        for line in next_lines(document.next_steps):
            say(line)
        say(f"card: {documents_of(out, shipped=done.path is not None)[1]}")
    raise typer.Exit(done.exit_code)
