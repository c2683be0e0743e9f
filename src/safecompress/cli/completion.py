"""`light`: commands as a shell's completion needs them, with the names of parts, and no torch.

What a verb takes, and the names of the parts that it can be given, stand in `completions.json`.
`make docs` writes it from the commands and registries themselves, whose modules take seconds to
import; a test fails where the committed file is not what it writes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

FILE = "completions.json"
_TYPES: Mapping[str, Any] = {"flag": bool, "one": str, "many": list[str], "pair": tuple[str, str]}
_RUNS = ("runs/*/config.yaml", "*/config.yaml")
"""Where run folders are looked for, from the current folder."""
VALUES: Mapping[tuple[str, str], str] = {
    ("compress", "preset"): "presets",
    ("compress", "standard"): "standards",
    ("compress", "track"): "trackers",
    ("compress", "assign"): "settings of compress",
    ("compress", "resume"): "runs",
    ("audit", "targets"): "runs",
    ("audit", "attack"): "attacks",
    ("audit", "standard"): "standards",
    ("audit", "track"): "trackers",
    ("audit", "assign"): "settings of audit",
    ("compare", "targets"): "runs",
    ("compare", "track"): "trackers",
    ("compare", "assign"): "settings of compare",
    ("export", "run"): "runs",
    ("export", "format"): "formats",
    ("release", "run"): "runs",
    ("release", "formats"): "formats",
    ("report", "runs"): "runs",
    ("validate", "assign"): "settings of compress",
    ("list", "kind"): "kinds",
    ("list", "name"): "parts",
}
"""By verb and parameter, the names that its values are completed with."""
_SETTINGS = {"model.name": "models", "preset": "presets", "verdict.standard": "standards"}
"""By setting, the names of its values."""


@cache
def _document() -> dict[str, Any]:
    text = files("safecompress.cli").joinpath(FILE).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def light(verb: str) -> Any:
    """Return a command that takes what a verb takes and does nothing.

    Args:
        verb: its name.
    """

    def stub(**given: Any) -> None:
        del given

    parameters = [_parameter(verb, given) for given in _document()["verbs"][verb]]
    stub.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    stub.__annotations__ = {p.name: p.annotation for p in parameters}
    alone = typer.Typer(add_completion=False)
    alone.command(name=verb)(stub)
    return typer.main.get_command(alone)


def _parameter(verb: str, given: Mapping[str, Any]) -> inspect.Parameter:
    complete = partial(_complete, VALUES.get((verb, given["name"]), ""))
    shown: dict[str, Any] = {"help": given["help"], "autocompletion": _of_typer(complete)}
    info = typer.Option(*given["opts"], **shown) if given["opts"] else typer.Argument(**shown)
    kind = _TYPES[given["kind"]]
    empty = False if kind is bool else None
    return inspect.Parameter(
        given["name"],
        inspect.Parameter.KEYWORD_ONLY,
        default=empty,
        annotation=Annotated[kind if kind is bool else kind | None, info],
    )


def _of_typer(complete: Callable[[Mapping[str, Any], str], list[str]]) -> Any:
    """Return a function in the form in which typer asks for values."""

    def asked(ctx: typer.Context, incomplete: str) -> list[str]:
        return complete(ctx.params, incomplete)

    return asked


def _complete(values: str, given: Mapping[str, Any], incomplete: str) -> list[str]:
    return [name for name in _names(values, given, incomplete) if name.startswith(incomplete)]


def _names(values: str, given: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    if values == "runs":
        return sorted({*_run_folders(), *_paths(incomplete)})
    if values == "parts":
        return _parts(str(given.get("kind")))
    if values.startswith("settings of "):
        return _settings(values, incomplete)
    known: Mapping[str, Sequence[str]] = _document()["values"]
    return _parts(values) if values in known["kinds"] else known.get(values, ())


def _parts(kind: str) -> list[str]:
    """Return the names of the parts of a kind, those of other packages included."""
    document = _document()
    group = document["groups"].get(kind)
    if group is None:
        return []
    from safecompress.registry.published import catalog

    return [*document["values"][kind], *catalog(group).points]


def _settings(values: str, incomplete: str) -> list[str]:
    """Return settings as `--set` takes them: their names, or with their values."""
    name, separator, _ = incomplete.partition("=")
    if not separator:
        return [f"{setting}=" for setting in _document()["values"][values]]
    return [f"{name}={value}" for value in _names(_SETTINGS.get(name, ""), {}, "")]


def _run_folders() -> Iterator[str]:
    for pattern in _RUNS:
        yield from (path.parent.as_posix() for path in Path().glob(pattern))


def _paths(incomplete: str) -> Iterator[str]:
    """Yield files and folders, for a parameter that also takes others than runs."""
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    if folder.is_dir():
        yield from (f"{path.as_posix()}{'/' if path.is_dir() else ''}" for path in folder.iterdir())


def completions() -> dict[str, Any]:
    """Return the contents of `completions.json`, read off the commands; imports all of them."""
    from safecompress.cli.kinds import KINDS
    from safecompress.cli.verbs import VERBS, imported
    from safecompress.config import PRESETS, AuditConfig, CompareConfig, CompressConfig, Section
    from safecompress.config.options import option_groups
    from safecompress.config.standards import STANDARDS
    from safecompress.config.trackers import TRACKER_NAMES

    configs: dict[str, type[Section]] = {
        "compress": CompressConfig,
        "audit": AuditConfig,
        "compare": CompareConfig,
    }
    values: dict[str, list[str]] = {kind: list(r.parts) for kind, r in KINDS.items()}
    values |= {"kinds": list(KINDS), "presets": list(PRESETS), "standards": list(STANDARDS)}
    values["trackers"] = list(TRACKER_NAMES)
    for name, config in configs.items():
        paths = {
            f"{path}.{option.name}" if path else option.name
            for group in option_groups(config)
            for path in group.paths
            if "[]" not in path and "NAME" not in path
            for option in group.options
        }
        values[f"settings of {name}"] = sorted(paths)
    return {
        "verbs": {verb: [_described(p) for p in imported(verb).params] for verb in VERBS},
        "values": values,
        "groups": {kind: registry.group for kind, registry in KINDS.items()},
    }


def _described(parameter: Any) -> dict[str, Any]:
    many = parameter.nargs == -1 or getattr(parameter, "multiple", False)
    if getattr(parameter, "is_flag", False):
        kind = "flag"
    elif many:
        kind = "many"
    else:
        kind = "pair" if parameter.nargs == 2 else "one"
    options = parameter.opts if parameter.param_type_name == "option" else []
    return {"name": parameter.name, "opts": options, "kind": kind, "help": parameter.help or ""}


def completions_file() -> str:
    """Return the text of `completions.json`."""
    return json.dumps(completions(), indent=1, ensure_ascii=False) + "\n"
