"""`safecompress export`: the file to ship, measured and tested again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.compress import Json, Quiet
from safecompress.cli.console import EventDisplay, print_json
from safecompress.cli.part import part_request
from safecompress.export import FORMATS, export
from safecompress.export.card import measured_lines


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
    threads: Annotated[int, typer.Option(min=1, help="Threads of the measured runtime.")] = 1,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Import code that the run folder names.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a run's model as a file, load it in its own runtime and test it on the sealed rows.

    Ends with 0 where no check tells the file from its model and it keeps its limits, 1 where one
    fails and no file is left, 3 undecided, 4 error.
    """
    with EventDisplay(quiet=quiet, as_json=as_json) as watcher:
        done = export(
            run,
            out,
            format=part_request(format, option="--format"),
            measure=measure,
            max_bytes=max_bytes,
            max_latency_ratio=max_latency_ratio,
            threads=threads,
            trust_code=trust_code,
            on_event=watcher,
        )
    document = done.document
    if as_json:
        print_json({"event": "export", "exit_code": done.exit_code, **document.to_json()})
    else:
        for line in measured_lines(document.measured):
            typer.echo(line)
        typer.echo(f"\n{done.status}: {document.sentence}")
        typer.echo(f"card: {out}.md")
    raise typer.Exit(done.exit_code)
