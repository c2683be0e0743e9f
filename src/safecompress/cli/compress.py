"""`safecompress compress`, and the options and helpers that it shares with other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from safecompress.cli.outcome import show_outcome
from safecompress.cli.part import part_request
from safecompress.compress import Run, compress
from safecompress.config import PRESETS, load_config
from safecompress.config.standards import STANDARDS
from safecompress.config.trackers import TRACKER_NAMES
from safecompress.display.console import EventDisplay
from safecompress.errors import ConfigError

Out = Annotated[Path | None, typer.Option(help="Run folder, new or empty.")]
Seed = Annotated[int | None, typer.Option(help="Fixes every random decision.")]
Assign = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]
PresetName = Annotated[
    str | None, typer.Option("--preset", help=f"What to prefer: {', '.join(PRESETS)}.")
]
StandardOption = Annotated[
    str | None,
    typer.Option(
        "--standard", metavar="NAME", help=f"Limits after a standard, too: {', '.join(STANDARDS)}."
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help=f"Also write to a tracker: {', '.join(TRACKER_NAMES)}; may be repeated. With options: "
        "{NAME: {option: value}}.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show rounds and checks only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")]


def command(
    config: Annotated[Path | None, typer.Argument(help="YAML file; see `init`.")] = None,
    out: Out = None,
    seed: Seed = None,
    assign: Assign = None,
    preset: PresetName = None,
    standard: StandardOption = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with an interrupted run.")] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Import code that the folder to resume names.")
    ] = False,
    track: Track = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compress a model under simulated attacks, judge it, and write its report.

    Ends with the verdict's exit code: 0 pass, 1 fail, 3 inconclusive, 4 error.
    """
    run = execute(
        config,
        out=out,
        assignments=settings(assign, seed, preset, standard=standard, track=track),
        resume=resume,
        trust_code=trust_code,
        quiet=quiet,
        as_json=as_json,
    )
    raise typer.Exit(run.verdict.exit_code)


def settings(
    assign: list[str] | None,
    seed: int | None,
    preset: str | None = None,
    *,
    standard: str | None = None,
    track: list[str] | None = None,
) -> list[str]:
    """Return the overrides of a command line, `--seed` and the like included.

    Args:
        assign: the values of `--set`, each `KEY=VALUE`.
        seed: the value of `--seed`; None where it was not given.
        preset: the value of `--preset`; None where it was not given.
        standard: the value of `--standard`; None where it was not given.
        track: the values of `--track`; None where it was not given.
    """
    options = {"seed": seed, "preset": preset, "verdict.standard": standard}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    return [*(assign or []), *given, *tracked(track)]


def tracked(track: list[str] | None) -> list[str]:
    """Return `--track` as an override of a configuration; none where it was not given.

    Args:
        track: its values, each a name or a name with options.

    Raises:
        ConfigError: when the options of one cannot be read.
    """
    requests = [part_request(text, option="--track") for text in track or ()]
    return [f"trackers={json.dumps(requests)}"] if requests else []


def execute(
    config: Path | None,
    *,
    out: Path | None,
    assignments: list[str],
    resume: Path | None,
    trust_code: bool,
    quiet: bool,
    as_json: bool,
) -> Run:
    """Start or resume a run, display its events, and print the outcome.

    Args:
        config: the configuration file; None to resume.
        out: the run folder; None takes that of the configuration, or runs/NAME-seedN.
        assignments: overrides of the configuration, each `KEY=VALUE`.
        resume: folder of an interrupted run; None to start one.
        trust_code: whether code that this folder names may be imported.
        quiet: whether candidates and progress are hidden.
        as_json: whether events and outcome are printed as JSON.

    Raises:
        ConfigError: when neither or both of a configuration and a folder to resume are given.
    """
    if (config is None) == (resume is None):
        raise ConfigError(
            "give a configuration to start a run, or --resume FOLDER to go on with one; "
            "`safecompress init` writes a starter."
        )
    if resume is not None and (out is not None or assignments):
        raise ConfigError("--resume takes its settings from the folder; drop the other options.")
    with EventDisplay(quiet=quiet, as_json=as_json) as watcher:
        if resume is not None:
            run = compress(resume=resume, trust_code=trust_code, progress=False, on_event=watcher)
        else:
            loaded = load_config(config or {}, assignments=assignments)
            target = out if out is not None else _default_out(loaded.out, config, loaded.seed)
            run = compress(config=loaded, out=target, progress=False, on_event=watcher)
    show_outcome(run.verdict, run.folder, as_json=as_json)
    return run


def _default_out(configured: Path | None, config: Path | None, seed: int) -> Path | None:
    """Name the run after its configuration file unless the configuration names it."""
    if configured is not None or config is None:
        return configured
    return Path("runs") / f"{config.stem}-seed{seed}"
