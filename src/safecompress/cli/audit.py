"""`safecompress audit`: a verdict on a model's recorded outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safecompress.audit import Limits, audit
from safecompress.cli.compress import Json, Quiet
from safecompress.cli.console import Watcher
from safecompress.cli.outcome import show_outcome
from safecompress.errors import ConfigError
from safecompress.files import write_text
from safecompress.report import junit_xml, markdown_summary, render_report

Bound = Annotated[
    list[str] | None,
    typer.Option("--max-tpr", metavar="TPR@FPR", help="E.g. 0.01@0.001; may be repeated."),
]


def command(
    outputs: Annotated[
        Path,
        typer.Argument(
            help=".npz with member_logits (n, classes), member_labels (n,), nonmember_logits and "
            "nonmember_labels."
        ),
    ],
    baseline: Annotated[
        Path | None, typer.Option(help="The dense model's outputs on the same rows.")
    ] = None,
    max_auc: Annotated[float, typer.Option(help="Most that any attack's AUC may be.")] = 0.60,
    max_advantage: Annotated[
        float | None, typer.Option(help="Most that any attack's TPR - FPR may be.")
    ] = None,
    max_tpr: Bound = None,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Fixes every random decision.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; audits/NAME by default.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write a short summary here.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Attack a model through its recorded outputs; no model and no configuration is needed.

    Ends with the verdict's exit code: 0 pass, 1 fail, 3 inconclusive, 4 error.
    """
    limits = Limits(max_auc, max_advantage, tuple(_rates(text) for text in max_tpr or []))
    folder = Path("audits") / outputs.stem if out is None else out
    with Watcher(quiet=quiet, as_json=as_json) as watcher:
        found = audit(
            outputs,
            baseline=baseline,
            limits=limits,
            level=level,
            seed=seed,
            out=folder,
            on_event=watcher,
        )
    document = found.verdict.document
    if junit is not None:
        write_text(junit, junit_xml(document, name=outputs.stem))
    if html is not None:
        write_text(html, render_report(folder))
    if markdown is not None:
        write_text(markdown, markdown_summary(document))
    show_outcome(found.verdict, folder, as_json=as_json)
    raise typer.Exit(found.verdict.exit_code)


def _rates(text: str) -> tuple[float, float]:
    tpr, _, fpr = text.partition("@")
    try:
        return float(tpr), float(fpr)
    except ValueError as error:
        raise ConfigError(
            f"--max-tpr is '{text}'; expected TPR@FPR, for example 0.01@0.001."
        ) from error
