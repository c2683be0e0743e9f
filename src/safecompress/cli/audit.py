"""`safecompress audit`: a verdict on any model, or on its recorded outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from safecompress.audit import Audit, Limits, audit
from safecompress.cli.compress import Assign, Json, Quiet, StandardOption, Track, tracked
from safecompress.cli.objects import Architecture, SplitsGiven, architecture_of, splits_of
from safecompress.cli.outcome import show_outcome
from safecompress.cli.outputs import require_outputs, write_outputs
from safecompress.cli.part import part_request
from safecompress.config import AuditConfig, load_audit_config
from safecompress.display.console import EventDisplay
from safecompress.errors import ConfigError
from safecompress.jointly import JointAudit, audit_jointly
from safecompress.report import (
    junit_xml,
    markdown_summary,
    read_evidence,
    render_report,
    render_summary,
    sarif_log,
)

_YAML = {".yaml", ".yml"}
Rates = Annotated[
    list[str] | None,
    typer.Option("--max-tpr", metavar="TPR@FPR", help="E.g. 0.01@0.001; may be repeated."),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAME",
        help="One more, e.g. augmentation; may be repeated. With options: {NAME: {option: value}}.",
    ),
]
GroupBy = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        metavar="COLUMN",
        help="Judge the leak within its groups, too; may be repeated.",
    ),
]
Files = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        metavar="MEMBERS NONMEMBERS",
        help="Two .csv, or two .npz with x and y: rows trained on, and rows not.",
    ),
]
Text = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Text of a .csv; twice for a pair.")
]


def command(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="TARGET...",
            help="A configuration (.yaml), an .onnx, .xml or .tflite, a Hugging Face classifier's "
            "folder, a run folder, or an .npz of recorded outputs; several with --jointly.",
        ),
    ],
    jointly: Annotated[
        bool,
        typer.Option(
            "--jointly", help="Judge files that are published together: one attacker holds all."
        ),
    ] = False,
    data: Files = None,
    model: Architecture = None,
    splits: SplitsGiven = None,
    text: Text = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Label of a .csv; 'label' by default.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Names of the classes, in the order of the columns."),
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option(help="What TARGET is right on of rows it was not trained on, e.g. 0.87."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The dense model, as TARGET; of a run, 'dense' or 'magnitude'."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="The full model that holders of TARGET may attack; of a run, 'dense'."),
    ] = None,
    standard: StandardOption = None,
    max_auc: Annotated[
        float | None, typer.Option(help="Most that any attack's AUC may be; 0.60 by default.")
    ] = None,
    max_group_auc: Annotated[
        float | None,
        typer.Option(help="The same within every class and group; --max-auc by default."),
    ] = None,
    group_by: GroupBy = None,
    max_advantage: Annotated[
        float | None, typer.Option(help="Most that any attack's TPR - FPR may be.")
    ] = None,
    max_tpr: Rates = None,
    margin: Annotated[
        float | None,
        typer.Option(help="AUC that an attack may gain on the baseline; 0.02 by default."),
    ] = None,
    attack: Attacks = None,
    shadows: Annotated[
        int | None, typer.Option(help="Of a run: shadow models to train and attack with, e.g. 16.")
    ] = None,
    level: Annotated[
        float | None, typer.Option(help="Confidence level of the intervals; 0.95 by default.")
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Run the attacks that fit into it: 60s, 2m, 1h."),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="What TARGET returns: logits or probabilities; auto by default."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Fixes every random decision.")] = None,
    assign: Assign = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Import code that a run folder names.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; audits/NAME by default.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report here.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Also write the page to print and sign here.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write a short summary here.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Also write SARIF 2.1.0 here.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that SafeCompress did not write.")
    ] = False,
    track: Track = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Attack a model and say whether it keeps its limits; options win over a configuration.

    With --jointly several files of one model are judged as one attacker's: each alone, every two
    and all of them. A --baseline among them is published, too; another one is secret.

    Ends with the verdict's exit code: 0 pass, 1 fail, 3 inconclusive, 4 error.
    """
    target, others = _targets(targets, jointly)
    given = {
        "jointly": [str(path) for path in others] or None,
        "data": _data(data, text or [], label),
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "accuracy": accuracy,
        "baseline": baseline,
        "against": against,
        "limits.standard": standard,
        "limits.max_auc": max_auc,
        "limits.max_group_auc": max_group_auc,
        "group_by": group_by or None,
        "limits.max_advantage": max_advantage,
        "limits.max_tpr": max_tpr or None,
        "limits.margin": margin,
        "attacks": [part_request(a, option="--attack") for a in attack or ()] or None,
        "shadows.count": shadows,
        "level": level,
        "time_budget": time_budget,
        "outputs": outputs,
        "seed": seed,
    }
    config = _config(target, given, [*(assign or []), *tracked(track)])
    limits = _limits(config)
    if jointly or config.jointly:
        _require_joint(config)
    folder = out or config.out or Path("audits") / _name(target, config)
    require_outputs(
        folders={"--out": folder},
        files={
            "--junit": junit,
            "--html": html,
            "--summary": summary,
            "--markdown": markdown,
            "--sarif": sarif,
        },
        inputs={
            "the target": target,
            "the configured target": config.target,
            **{f"{path}, a target": path for path in config.jointly},
            "--baseline": baseline,
            "--against": against,
            "--data MEMBERS": None if data is None else data[0],
            "--data NONMEMBERS": None if data is None else data[1],
        },
        force=force,
    )
    with EventDisplay(quiet=quiet, as_json=as_json) as watcher:
        shared: dict[str, Any] = {
            "model": None if model is None else architecture_of(model),
            "baseline": config.baseline,
            "limits": limits,
            "group_by": config.group_by,
            "attacks": config.attacks,
            "classes": config.classes,
            "accuracy": config.accuracy,
            "shadows": config.shadows,
            "level": config.level,
            "seed": config.seed,
            "outputs": config.outputs,
            "trust_code": trust_code,
            "out": folder,
            "progress": False,
            "trackers": config.trackers,
            "on_event": watcher,
        }
        rows = config.data if splits is None else splits_of(splits)
        result: Audit | JointAudit
        if config.jointly:
            result = audit_jointly([config.target, *config.jointly], rows, **shared)
        else:
            result = audit(
                config.target,
                rows,
                against=config.against,
                time_budget=config.time_budget,
                **shared,
            )
    document = result.verdict.document.to_json()
    unwritten = write_outputs(
        {
            "--junit": (junit, lambda: junit_xml(document, name=folder.name)),
            "--html": (html, lambda: render_report(folder)),
            "--summary": (summary, lambda: render_summary(read_evidence(folder))),
            "--markdown": (markdown, lambda: markdown_summary(document)),
            "--sarif": (sarif, lambda: sarif_log(document, artifact=str(config.target))),
        }
    )
    show_outcome(result.verdict, folder, as_json=as_json)
    if unwritten is not None:
        raise unwritten
    raise typer.Exit(result.verdict.exit_code)


def _targets(targets: list[Path], jointly: bool) -> tuple[Path, list[Path]]:
    """Return the first target and those that are judged with it."""
    first, *others = targets
    if others and not jointly:
        raise ConfigError(
            f"{len(targets)} targets: add --jointly to judge files that are published together as "
            "one set, or audit each by itself."
        )
    if any(path.suffix.lower() in _YAML for path in others):
        raise ConfigError("a configuration stands first; it names the other files as `jointly`.")
    return first, others


def _require_joint(config: AuditConfig) -> None:
    if not config.jointly:
        raise ConfigError("--jointly: name two or more files, which are published together.")
    for option, value in (("against", config.against), ("time_budget", config.time_budget)):
        if value is not None:
            raise ConfigError(f"{option}: is of a single target; leave it out with --jointly.")


def _config(target: Path, given: dict[str, Any], assign: list[str]) -> AuditConfig:
    """Return the settings: those of the file, if it is one, then the options, then `--set`."""
    options = [f"{k}={json.dumps(v)}" for k, v in given.items() if v is not None]
    start = target if target.suffix.lower() in _YAML else {"target": str(target)}
    return load_audit_config(start, assignments=[*options, *assign])


def _data(files: tuple[Path, Path] | None, text: list[str], label: str | None) -> Any:
    """Return the `data` section that two files of rows stand for."""
    if files is None:
        if text or label:
            raise ConfigError("--text and --label describe the files of --data; give it, too.")
        return None
    suffixes = {path.suffix.lower() for path in files}
    if len(suffixes) > 1 or not suffixes <= {".csv", ".npz"}:
        raise ConfigError(
            f"--data {files[0]} {files[1]}: expected two .csv or two .npz, members first."
        )
    kind = suffixes.pop()[1:]
    columns: dict[str, Any] = {}
    if kind == "csv":
        columns = ({"text": text} if text else {}) | ({"label": label} if label else {})
    elif text or label:
        raise ConfigError("--text and --label name columns of a .csv; an .npz holds x and y.")
    source = {"source": kind, "path": str(files[0]), "test_path": str(files[1])}
    return {"source": source | columns, "split": {"membership": "pair"}}


def _limits(config: AuditConfig) -> Limits:
    rates = [rate.partition("@") for rate in config.limits.max_tpr]
    return Limits(
        config.limits.max_auc,
        config.limits.max_advantage,
        tuple((float(tpr), float(fpr)) for tpr, _, fpr in rates),
        config.limits.max_transfer,
        config.limits.max_saving,
        config.limits.max_group_auc,
        config.limits.margin,
        config.limits.max_transfer_gain,
        config.limits.standard,
    )


def _name(target: Path, config: AuditConfig) -> str:
    """Return the name of the results: that of the target, or of the configuration file."""
    path = target if target.suffix.lower() in _YAML else config.target
    name = path.stem if path.is_file() else path.name
    return f"{name}-jointly" if config.jointly and path is config.target else name
