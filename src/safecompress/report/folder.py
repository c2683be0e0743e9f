"""`RunFiles` and `read_folder`: the text files of a run folder, each optional but the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safecompress.errors import DataError, RunFolderError
from safecompress.files import parsed_json, read_json
from safecompress.report.safe import mapping, text
from safecompress.verdict_agreement import contradiction
from safecompress.verdict_names import SCHEMA_VERSION

_LONGEST_CONFIG = 60_000


@dataclass(frozen=True)
class RunFiles:
    """A run folder's results.

    Args:
        name: the folder's name.
        verdict: the contents of verdict.json.
        figures: the contents of figures.json; empty where it is missing or damaged.
        provenance: the contents of provenance.json; empty where it is missing or damaged.
        history: one mapping per candidate.
        config: the text of config.yaml.
        notes: one sentence per file that is missing or damaged, for the reader of the page.
    """

    name: str
    verdict: Mapping[str, Any]
    figures: Mapping[str, Any]
    provenance: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    config: str
    notes: tuple[str, ...]


def read_folder(folder: Path) -> RunFiles:
    """Read the files of a report from `folder`; model files are never read.

    Args:
        folder: the folder of a run or an audit.

    Raises:
        RunFolderError: when `folder` is no folder, or its verdict is missing or damaged.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such folder; name a run folder.")
    notes: list[str] = []
    verdict = _read_verdict(folder / "verdict.json")
    version = verdict.get("schema_version")
    if version != SCHEMA_VERSION:
        notes.append(
            f"verdict.json has schema version {text(version, longest=40) or 'none'}; this page was "
            f"made for version {SCHEMA_VERSION} and may leave something out."
        )
    # An audit has no rounds and no configuration, so these files are not missing.
    loop = verdict.get("kind") not in ("audit", "joint")
    return RunFiles(
        name=folder.resolve().name or "run",
        verdict=verdict,
        figures=_read_optional(folder / "figures.json", "the curves, layers and costs", notes),
        provenance=_read_optional(
            folder / "provenance.json", "the versions and digests of this run", notes
        ),
        history=_read_history(folder / "history.jsonl", notes) if loop else (),
        config=_read_config(folder / "config.yaml", notes) if loop else "",
        notes=tuple(notes),
    )


def _read_verdict(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise RunFolderError(
            f"{path.parent}: has no {path.name}, so there is nothing to report yet; finish the run "
            f"with: safecompress compress --resume {path.parent}"
        )
    try:
        value = read_json(path)
    except DataError as error:
        raise RunFolderError(f"{path}: damaged ({error}); judge the model again.") from error
    if not isinstance(value, Mapping):
        raise RunFolderError(
            f"{path}: expected a JSON object, found {type(value).__name__}; judge the model again."
        )
    if why := contradiction(value):
        raise RunFolderError(
            f"{path}: {why}; the file was changed after it was written. Judge the model again."
        )
    return value


def _read_optional(path: Path, what: str, notes: list[str]) -> Mapping[str, Any]:
    if not path.is_file():
        notes.append(f"{path.name} is missing: {what} cannot be shown.")
        return {}
    try:
        value = read_json(path)
    except DataError:
        value = None
    if not isinstance(value, Mapping):
        notes.append(f"{path.name} is damaged: {what} cannot be shown.")
    return mapping(value)


def _read_history(path: Path, notes: list[str]) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        notes.append("history.jsonl is missing: the rounds of the loop cannot be shown.")
        return ()
    lines: list[Mapping[str, Any]] = []
    damaged = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            value = parsed_json(line)
        except ValueError:
            value = None
        if isinstance(value, Mapping):
            lines.append(value)
        else:
            damaged += 1
    if damaged:
        notes.append(f"history.jsonl: {damaged} damaged lines were left out.")
    return tuple(lines)


def _read_config(path: Path, notes: list[str]) -> str:
    if not path.is_file():
        notes.append("config.yaml is missing: the configuration cannot be shown.")
        return ""
    content = path.read_text(encoding="utf-8", errors="replace")
    if len(content) > _LONGEST_CONFIG:
        notes.append(
            f"config.yaml is long: its first {_LONGEST_CONFIG:,} of {len(content):,} characters "
            "are shown."
        )
    return content[:_LONGEST_CONFIG]
