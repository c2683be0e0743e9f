"""`make_cells`, `ask_for_cells`: cells of benchmarks that compare methods over cohorts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import Cells, add_out
from safecompress import compare
from safecompress.events import Event
from safecompress.report import table_markdown


def say(event: Event) -> None:
    """Print each model and each cell.

    Args:
        event: of the comparison.
    """
    if event.kind in {"stage", "saved"} or event.data.get("stage") == "shadows":
        print(event.text, flush=True)


def make_cells(
    config: Mapping[str, Any],
    out: Path,
    *,
    data: Sequence[str],
    methods: Sequence[str],
    densities: Sequence[float] = (),
) -> None:
    """Make the missing cells of a comparison and print the table of all.

    Args:
        config: the comparison, as `safecompress compare` reads it.
        out: folder of the working files, into which the committed cells are laid first.
        data: names of the data sets of which cells are made; all where empty.
        methods: names of the methods, likewise.
        densities: likewise.
    """
    Cells(out).unpack()
    document = compare(
        config, out=out, data=data, densities=densities, methods=methods, on_event=say
    )
    print(table_markdown(document.to_json()))


def ask_for_cells(
    name: str, config: Mapping[str, Any], *, summary: str, data: Sequence[str] = ()
) -> None:
    """Make those cells of a comparison that the command line asks for.

    Args:
        name: the benchmark's name, which is that of its working files.
        config: the comparison.
        summary: what the benchmark does, in a line.
        data: names of the data sets that are taken where none is named; all where empty.
    """
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--data", nargs="*", default=list(data))
    parser.add_argument("--method", nargs="*", default=[])
    parser.add_argument("--workers", type=int)
    add_out(parser, name)
    options = parser.parse_args()
    asked = {**config, "workers": options.workers}
    make_cells(asked, options.out, data=options.data, methods=options.method)
