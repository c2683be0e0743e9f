"""`RunFolder`: the folder of a run, with its configuration, history, checkpoints and results.

A commit appends to the history, then writes a checkpoint that names the history's length. A kill at
any moment leaves either the old checkpoint or the new one valid; lines that the history has beyond
the valid checkpoint's length are cut off when the run is resumed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from safecompress.errors import BusyRunError, ConfigError, DataError, RunFolderError
from safecompress.files import parsed_json, require_folder, storage_error, sync_folder, write_text
from safecompress.run.checkpoints import (
    Checkpoint,
    CommittedCheckpoint,
    drop_others,
    find_whole,
    read_checkpoint,
    serials,
    write_checkpoint,
)

CONFIG, HISTORY, PROVENANCE = "config.yaml", "history.jsonl", "provenance.json"
PREPROCESSING, STATE = "preprocessing.json", "state"
CANARIES = "canaries.json"
"""Which rows are canaries, their labels and coins, written before any training."""
MODEL, STUDENT, DENSE, VERDICT, FIGURES = (
    "model.safetensors",
    "student.safetensors",
    "dense.safetensors",
    "verdict.json",
    "figures.json",
)
OWN_LOOP = "own-loop.json"
"""Where a loop of the user's own trains the model, what is known of that training."""
REPORT, SUMMARY, JUNIT = "report.html", "summary.html", "junit.xml"
LEDGER = "sealed-ledger.jsonl"
"""File beside the run folders: which models were judged on which sealed rows."""


class RunFolder:
    """One run folder, locked against other processes while it is open.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warning = ""
        """Names the damaged checkpoint that `reopen` skipped; empty where none was damaged."""
        self._state, self._history = path / STATE, path / HISTORY
        self._lock = FileLock(path / ".lock")
        self._standing: CommittedCheckpoint | None = None
        self._newest = 0

    def acquire(self) -> None:
        """Take the folder's lock; the operating system frees it when the process ends or is killed.

        Raises:
            BusyRunError: when another process works on it.
            StorageError: when the folder is not writable.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyRunError(
                f"{self.path}: another process is working on this run; wait for it or use "
                f"another --out. If none is, on no machine, delete {self.path / '.lock'}."
            ) from error
        except OSError as error:
            raise storage_error(self.path / ".lock", error) from error

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    @classmethod
    def create(cls, path: Path, config_yaml: str) -> RunFolder:
        """Make a new run folder and lock it.

        Args:
            path: the folder; new, or empty.
            config_yaml: the resolved configuration, written as `config.yaml`.

        Raises:
            RunFolderError: when the folder holds a run or other files.
            ConfigError: when nothing can be written there.
        """
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path}: a file, not a folder; choose another --out.")
        require_folder(path.absolute().parent, option="out")
        cls._refuse_occupied(path)
        folder = cls(path)
        try:
            folder._state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be created ({error}); choose another --out."
            ) from error
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
            how = f"safecompress compress --resume {path}"
            if (path / OWN_LOOP).exists():
                how = "the same loop, from its checkpoint, with resume=True"
            raise RunFolderError(f"{path}: holds an unfinished run. Go on with: {how}")
        foreign = [
            str(p.relative_to(path))
            for p in (*path.glob("*"), *path.glob("state/*"))
            if p not in {path / ".lock", path / STATE}
        ]
        if foreign:
            raise RunFolderError(
                f"{path}: not empty (it holds '{min(foreign)}'); choose an empty --out."
            )

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Lock an existing run folder and restore it to its last undamaged commit.

        Args:
            path: the folder.

        Raises:
            RunFolderError: when there is no run, another process works on it, or it is damaged.
            StorageError: when the folder is not writable.
        """
        if not (path / CONFIG).is_file():
            raise RunFolderError(f"{path}: no run to resume (no {CONFIG} in it).")
        folder = cls(path)
        folder.acquire()
        try:
            for stray in [*path.glob(".*.tmp"), *folder._state.glob(".*.tmp")]:
                stray.unlink(missing_ok=True)
            folder._find_standing()
            folder._cut_history()
        except OSError as error:
            folder.release()
            raise storage_error(path / HISTORY, error) from error
        except BaseException:
            folder.release()
            raise
        return folder

    def commit(self, checkpoint: Checkpoint, *, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        """Append `lines` to the history and make `checkpoint` the one to resume from.

        The previous checkpoint is kept. Older ones are deleted before the new one is written, so
        that the disk never has to hold more than two.

        Args:
            checkpoint: where the run stands.
            lines: history lines, one for each candidate; JSON values without NaN.

        Raises:
            StorageError: when the disk is full; the previous checkpoint is intact.
            RunFolderError: when another process has written to the folder in spite of the lock.
        """
        self._refuse_a_second_writer()
        try:
            self._state.mkdir(exist_ok=True)
            drop_others(self._state, self._standing.serial if self._standing else 0)
            if lines:
                self._append_history(lines)
            serial = self._newest + 1
            self._standing = write_checkpoint(
                self._state, checkpoint, serial=serial, history=self._history
            )
        except OSError as error:
            raise storage_error(self._history, error) from error
        self._newest = serial

    def finish(self) -> None:
        """Delete all checkpoints but the last, once the run has its verdict.

        The last one holds no candidates, because every model has its file by then.
        """
        if self._standing is not None:
            drop_others(self._state, self._standing.serial)

    def restore(self) -> Checkpoint | None:
        """Return the last committed checkpoint, or None before the first.

        Raises:
            RunFolderError: when it was damaged while the folder was open.
        """
        if self._standing is None:
            return None
        try:
            return read_checkpoint(self._state, self._standing)
        except DataError as error:
            raise RunFolderError(f"{error} Resume again, from the checkpoint before.") from error

    def history(self) -> list[dict[str, Any]]:
        """Return the committed history, one mapping per candidate."""
        return read_history(self.path)

    def _find_standing(self) -> None:
        """Find the newest undamaged checkpoint; the steps after it are repeated with equal bits."""
        known_serials = serials(self._state)
        self._newest = max(known_serials, default=0)
        complaints = []
        for serial in reversed(known_serials):
            try:
                self._standing = find_whole(self._state, serial, history=self._history)
                break
            except DataError as error:
                complaints.append(str(error))
        if not complaints:
            return
        if self._standing is None:
            raise RunFolderError(
                f"{self.path}: damaged, and there is no whole checkpoint to go on from. "
                f"{complaints[0]} Put the file back if there is a copy, or start the run again in "
                "a new folder."
            )
        self.warning = (
            f"damaged: {complaints[0]} The run goes on from the checkpoint before and ends in the "
            "same result."
        )

    def _refuse_a_second_writer(self) -> None:
        """Raise RunFolderError if another process has committed to this folder.

        Locks of some network file systems do not reach other machines, so a second writer is
        possible in spite of the lock.
        """
        if max(serials(self._state), default=0) > self._newest:
            raise RunFolderError(
                f"{self.path}: another process has written to this run, so the lock does not hold "
                "on this file system. Stop all but one; this one has stopped and harmed nothing."
            )

    def _append_history(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        is_new = not self._history.exists()
        # A failed commit may have left lines behind; they belong to no checkpoint.
        self._cut_history()
        with self._history.open("ab") as handle:
            handle.write(text.encode())
            handle.flush()
            os.fsync(handle.fileno())
        if is_new:
            sync_folder(self.path)

    def _cut_history(self) -> None:
        committed = self._standing.history_bytes if self._standing else 0
        if self._history.exists() and self._history.stat().st_size > committed:
            with self._history.open("rb+") as handle:
                handle.truncate(committed)
                os.fsync(handle.fileno())


def ledger_of(path: Path) -> Path:
    """Return the file that counts the looks at a run's sealed rows.

    It is beside the folder itself and not beside a link to it, through which looks would be counted
    anew.

    Args:
        path: the run folder, or a link to it.
    """
    return path.resolve().parent / LEDGER


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return a run folder's history, one mapping per candidate; empty without a history file.

    Args:
        path: the run folder.

    Raises:
        DataError: when a line is not JSON.
    """
    file = path / HISTORY
    if not file.exists():
        return []
    try:
        return [parsed_json(line) for line in file.read_text().splitlines() if line]
    except ValueError as error:
        raise DataError(f"{file}: a line is not JSON ({error}).") from error
