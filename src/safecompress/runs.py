"""The run folder: one run's configuration, history, checkpoints and results.

A checkpoint is committed in two steps: the tensors under a new name, then `state/current.json`,
which names them and the length of `history.jsonl`. A kill at any moment leaves either the old
checkpoint or the new one; what was appended to the history after the last commit is cut off when
the run is resumed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from safecompress.candidate import Candidate
from safecompress.errors import DataError, RunFolderError, StorageError
from safecompress.files import (
    read_json,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
    write_text,
)

CONFIG, HISTORY, PROVENANCE = "config.yaml", "history.jsonl", "provenance.json"
PREPROCESSING = "preprocessing.json"
MODEL, DENSE, VERDICT, FIGURES = (
    "model.safetensors",
    "dense.safetensors",
    "verdict.json",
    "figures.json",
)
REPORT, JUNIT = "report.html", "junit.xml"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Args:
        stage: the stage being worked on.
        round: the round being worked on, from 0.
        work: named candidates: the population and whatever of this round is under way.
        notes: JSON values that go with them.
    """

    stage: str
    round: int = 0
    work: Mapping[str, Candidate] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


class RunFolder:
    """One run folder, locked against other processes while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")

    def acquire(self) -> None:
        """Take the folder's lock.

        Raises:
            RunFolderError: when another process works on it.
            StorageError: when the folder is not writable.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunFolderError(
                f"{self.path}: another process is working on this run; wait for it or use "
                "another --out."
            ) from error
        except OSError as error:
            raise StorageError(
                f"{self.path}: not writable ({error}). Choose another folder with --out."
            ) from error

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    @classmethod
    def create(cls, path: Path, config_yaml: str) -> RunFolder:
        """Make a new run folder and lock it.

        Raises:
            RunFolderError: when the folder holds a run or other files.
            StorageError: when it cannot be written.
        """
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path}: a file, not a folder; choose another --out.")
        cls._refuse_occupied(path)
        try:
            (path / "state").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be created ({error}); choose another --out."
            ) from error
        folder = cls(path)
        folder.acquire()
        try:
            folder._refuse_occupied(path)
            write_text(path / CONFIG, config_yaml)
        except BaseException:
            folder.release()
            raise
        return folder

    @staticmethod
    def _refuse_occupied(path: Path) -> None:
        if (path / VERDICT).exists():
            raise RunFolderError(
                f"{path}: holds a finished run. Choose another --out, or delete the folder."
            )
        if (path / CONFIG).exists():
            raise RunFolderError(
                f"{path}: holds an unfinished run. Go on with: "
                f"safecompress compress --resume {path}"
            )
        foreign = (
            [p.name for p in path.iterdir() if p.name not in {".lock", "state"}]
            if path.is_dir()
            else []
        )
        if foreign:
            raise RunFolderError(
                f"{path}: not empty (it holds '{sorted(foreign)[0]}'); choose an empty --out."
            )

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Lock an existing run folder and cut its history back to the last commit.

        Raises:
            RunFolderError: when there is no run, or another process works on it.
        """
        if not (path / CONFIG).is_file():
            raise RunFolderError(f"{path}: no run to resume (no {CONFIG} in it).")
        folder = cls(path)
        folder.acquire()
        try:
            for stray in [*path.glob(".*.tmp"), *(path / "state").glob(".*.tmp")]:
                stray.unlink(missing_ok=True)
            folder._cut_history()
        except BaseException:
            folder.release()
            raise
        return folder

    def commit(self, checkpoint: Checkpoint, *, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        """Append `lines` to the history and make `checkpoint` the one to resume from.

        Raises:
            StorageError: when the disk is full; the previous checkpoint is intact.
        """
        if lines:
            self._append_history(lines)
        current = self._current()
        serial = (current["serial"] if current else 0) + 1
        name = f"{serial:06d}.safetensors"
        flat: dict[str, Tensor] = {}
        for key, candidate in checkpoint.work.items():
            flat |= {f"{key}|{n}": t for n, t in candidate.tensors().items()}
        (self.path / "state").mkdir(exist_ok=True)
        write_tensors(self.path / "state" / name, flat)
        document = {
            "serial": serial,
            "file": name,
            "sha256": sha256(self.path / "state" / name),
            "stage": checkpoint.stage,
            "round": checkpoint.round,
            "work": {
                k: {"step": c.step, "lineage": list(c.lineage)} for k, c in checkpoint.work.items()
            },
            "notes": dict(checkpoint.notes),
            "history_bytes": self._history_bytes(),
        }
        write_json(self.path / "state" / "current.json", document)
        for old in (self.path / "state").glob("*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def restore(self) -> Checkpoint | None:
        """Return the last committed checkpoint, or None before the first.

        Raises:
            RunFolderError: when it is damaged.
        """
        document = self._current()
        if document is None:
            return None
        path = self.path / "state" / str(document["file"])
        try:
            if sha256(path) != document["sha256"]:
                raise DataError("its SHA-256 is not the recorded one")
            flat = read_tensors(path)
        except (DataError, OSError) as error:
            raise RunFolderError(
                f"{path}: the checkpoint is damaged ({error}); start the run again in a new folder."
            ) from error
        groups: dict[str, dict[str, Tensor]] = {key: {} for key in document["work"]}
        for name, tensor in flat.items():
            key, rest = name.split("|", 1)
            groups[key][rest] = tensor
        work = {
            key: Candidate.from_tensors(
                groups[key], step=meta["step"], lineage=tuple(meta["lineage"])
            )
            for key, meta in document["work"].items()
        }
        return Checkpoint(document["stage"], document["round"], work, document["notes"])

    def history(self) -> list[dict[str, Any]]:
        """Return the committed history, one mapping per candidate."""
        return read_history(self.path)

    def _current(self) -> dict[str, Any] | None:
        path = self.path / "state" / "current.json"
        if not path.exists():
            return None
        document = read_json(path)
        if not isinstance(document, dict) or not {"serial", "file", "work"} <= document.keys():
            raise RunFolderError(f"{path}: damaged; start the run again in a new folder.")
        return document

    def _history_bytes(self) -> int:
        path = self.path / HISTORY
        return path.stat().st_size if path.exists() else 0

    def _append_history(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        path = self.path / HISTORY
        try:
            with path.open("ab") as handle:
                handle.write(text.encode())
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise StorageError(
                f"{path}: could not be written ({error}). Earlier work is intact: free some "
                "space and resume."
            ) from error

    def _cut_history(self) -> None:
        document = self._current()
        committed = int(document["history_bytes"]) if document else 0
        path = self.path / HISTORY
        if path.exists() and path.stat().st_size > committed:
            with path.open("rb+") as handle:
                handle.truncate(committed)
                os.fsync(handle.fileno())


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return a run folder's history, one mapping per candidate; empty without one.

    Raises:
        DataError: when a line is not JSON.
    """
    file = path / HISTORY
    if not file.exists():
        return []
    try:
        return [json.loads(line) for line in file.read_text().splitlines() if line]
    except ValueError as error:
        raise DataError(f"{file}: a line is not JSON ({error}).") from error
