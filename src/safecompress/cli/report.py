"""`safecompress report`: write the report of finished runs again, and a verdict in other forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.outputs import require_outputs, write_outputs
from safecompress.display.console import say
from safecompress.errors import ConfigError
from safecompress.report import (
    Evidence,
    bill_of_materials,
    junit_xml,
    markdown_summary,
    read_evidence,
    render_summary,
    sarif_log,
    write_report,
)

_FORMS: Mapping[str, Callable[[Evidence], str]] = {
    "--junit": lambda evidence: junit_xml(evidence.document, name=evidence.name),
    "--markdown": lambda evidence: markdown_summary(evidence.document),
    "--summary": render_summary,
    "--bom": bill_of_materials,
    "--sarif": lambda evidence: sarif_log(evidence.document, artifact=evidence.artifact),
}
"""By option, what makes the text of a verdict's form."""


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of finished runs and audits, or FILE.json beside an export."),
    ],
    junit: Annotated[
        Path | None, typer.Option(help="Of one verdict: write JUnit XML here.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Of one verdict: write a short summary here.")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Of one verdict: write the page to print and sign here.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option(help="Of one verdict: write SARIF 2.1.0 here.")
    ] = None,
    bom: Annotated[
        Path | None, typer.Option(help="Of one verdict: write a CycloneDX bill of materials here.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that SafeCompress did not write.")
    ] = False,
) -> None:
    """Write the report of finished runs from their files."""
    files = {
        "--junit": junit,
        "--markdown": markdown,
        "--summary": summary,
        "--sarif": sarif,
        "--bom": bom,
    }
    asked = {option: path for option, path in files.items() if path is not None}
    if asked and len(runs) != 1:
        raise ConfigError(f"{', '.join(asked)}: one file is of one verdict; name one folder.")
    inputs: Mapping[str, str | Path | None] = {"the verdict": runs[0]}
    require_outputs(files=asked, inputs=inputs, force=force)
    for run in runs:
        if run.is_dir() or not asked:
            say(str(write_report(run)))
    if not asked:
        return
    evidence = read_evidence(runs[0])
    unwritten = write_outputs(
        {option: (path, partial(_FORMS[option], evidence)) for option, path in asked.items()}
    )
    if unwritten is not None:
        raise unwritten
    for path in asked.values():
        say(str(path))
