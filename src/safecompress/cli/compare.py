"""`safecompress compare`: methods over cohorts of models, or finished runs, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.compress import Json, Quiet, Track, tracked
from safecompress.cli.outputs import require_outputs
from safecompress.compare import compare, compare_runs
from safecompress.config import load_compare_config
from safecompress.display.console import EventDisplay, say
from safecompress.errors import ConfigError
from safecompress.report import table_markdown
from safecompress.verdicts.comparison_document import CohortTable, RunTable

_YAML = {".yaml", ".yml"}


def command(
    targets: Annotated[
        list[Path], typer.Argument(help="A comparison (.yaml), or folders of runs and audits.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; comparisons/NAME by default.")
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="Only this data set; repeatable.")] = None,
    density: Annotated[list[float] | None, typer.Option(help="Only this density.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method.")] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
    ] = None,
    track: Track = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare methods over cohorts of models, or finished runs, and write the table.

    What has been made is not made again; the table is of all cells there are.
    """
    require_outputs(folders={"--out": out}, files={})
    if targets[0].suffix.lower() not in _YAML:
        if data or density or method or assign or track:
            raise ConfigError(
                "--data, --density, --method, --set and --track are for the cells of a .yaml."
            )
        document: CohortTable | RunTable = compare_runs(targets, out=out)
    else:
        if len(targets) > 1:
            raise ConfigError("give one comparison, or any number of run folders.")
        config = load_compare_config(targets[0], assignments=[*(assign or []), *tracked(track)])
        with EventDisplay(quiet=quiet, as_json=as_json) as watcher:
            document = compare(
                config,
                out=out or config.out or Path("comparisons") / targets[0].stem,
                data=data or (),
                densities=density or (),
                methods=method or (),
                progress=False,
                on_event=watcher,
            )
    if not as_json:
        say(table_markdown(document.to_json()))
