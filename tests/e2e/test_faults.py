"""Whatever fails on the disk: one clear message, and a resumed run that ends the same."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning_fabric.loggers.csv_logs import CSVLogger

from safecompress.errors import ConfigError, RunFolderError, StorageError
from safecompress.events import Event
from safecompress.run.folder import CONFIG, HISTORY, REPORT, VERDICT
from tests.small_runs import begin, go_on, kept, one_message, result

pytestmark = pytest.mark.usefixtures("brisk_runs")


KINDS = {
    "preprocessing": ("preprocessing.json", 1),
    "provenance, first": ("provenance.json", 1),
    "provenance, last": ("provenance.json", 2),
    "first checkpoint": ("000001.safetensors", 1),
    "its document": ("000001.json", 1),
    "a checkpoint in the search": ("000009.safetensors", 1),
    "that one's document": ("000009.json", 1),
    "dense model": ("dense.safetensors", 1),
    "baseline": ("magnitude.safetensors", 1),
    "compressed model": ("model.safetensors", 1),
    "figures": ("figures.json", 1),
    "verdict": (VERDICT, 1),
    "junit": ("junit.xml", 1),
    "report": (REPORT, 1),
}


class Full:
    """A file on a disk that takes half of what is written before it says that it is full."""

    def __init__(self, handle: Any, code: int) -> None:
        self._handle, self._code = handle, code

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        self._handle.write(data[: len(data) // 2])
        raise OSError(self._code, os.strerror(self._code))


def failing_file(
    patch: pytest.MonkeyPatch, operation: str, name: str, number: int, code: int
) -> None:
    """Make the `number`-th time that an operation meets the temporary file of `name` fail.

    The operation `write` is to open the file for writing, which `write_bytes` does, too.
    """
    method = "open" if operation == "write" else operation
    original: Callable[..., Any] = getattr(Path, method)
    met = 0

    def fail(self: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal met
        meant = method != "open" or "wb" in (*arguments, *options.values())
        meant = meant and self.name.startswith(f".{name}.")
        met += meant
        if not meant or met != number:
            return original(self, *arguments, **options)
        if method == "open":
            return Full(original(self, *arguments, **options), code)
        raise OSError(code, os.strerror(code))

    patch.setattr(Path, method, fail)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_loses_nothing(kind: str, folder: Path, whole: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing_file(patch, "write", *KINDS[kind], errno.ENOSPC)
        with pytest.raises(StorageError, match="the disk is full") as caught:
            begin(folder)
    assert KINDS[kind][0] in one_message(caught.value, code=4)
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


@pytest.mark.parametrize("kind", ["dense model", "a checkpoint in the search", "verdict"])
@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS])
def test_a_file_that_cannot_be_put_in_place_loses_nothing(
    kind: str, code: int, folder: Path, whole: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing_file(patch, "replace", *KINDS[kind], code)
        with pytest.raises(StorageError) as caught:
            begin(folder)
    assert KINDS[kind][0] in one_message(caught.value, code=4)
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


@pytest.mark.parametrize("number", [3, 8, 21, 34, 55])
def test_a_disk_that_fills_up_when_bytes_are_made_durable(
    number: int, folder: Path, whole: dict[str, Any]
) -> None:
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full"):
            begin(folder)
    kept(folder)
    go_on(folder)
    assert result(folder) == whole


@pytest.mark.parametrize("number", [1, 2])
def test_a_full_disk_in_the_middle_of_a_history_line(
    number: int, folder: Path, whole: dict[str, Any]
) -> None:
    original, calls = Path.open, 0

    def half_written(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        if self.name == HISTORY and mode == "ab":
            calls += 1
            if calls == number:
                with original(self, "ab") as handle:
                    handle.write(b'{"round": 1, "cand')
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, mode, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", half_written)
        with pytest.raises(StorageError, match=r"history\.jsonl: the disk is full"):
            begin(folder)
    assert (folder / HISTORY).read_bytes().endswith(b'{"round": 1, "cand')
    go_on(folder)
    assert result(folder) == whole


def test_without_room_for_the_configuration_there_is_no_run_and_the_same_folder_serves_later(
    folder: Path, whole: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing_file(patch, "write", CONFIG, 1, errno.ENOSPC)
        with pytest.raises(StorageError, match="the disk is full"):
            begin(folder)
    with pytest.raises(RunFolderError, match="no run to resume"):
        go_on(folder)
    begin(folder)
    assert result(folder) == whole


def test_a_full_disk_under_a_tracker_costs_no_run(folder: Path, whole: dict[str, Any]) -> None:
    def full(self: CSVLogger) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    notes: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CSVLogger, "save", full)
        begin(folder, trackers=["csv"], on_event=lambda event: notes.append(event.text))
    assert [note for note in notes if "tracker csv failed" in note and "No space left" in note]
    assert result(folder)["models"] == whole["models"]


def test_a_ledger_that_cannot_be_written_keeps_the_rows_sealed(
    folder: Path, whole: dict[str, Any]
) -> None:
    (folder.parent / "sealed-ledger.jsonl").mkdir()
    with pytest.raises(StorageError, match="ledger") as caught:
        begin(folder)
    one_message(caught.value, code=4)
    assert not (folder / VERDICT).exists()
    kept(folder)
    (folder.parent / "sealed-ledger.jsonl").rmdir()
    go_on(folder)
    assert result(folder) == whole


def test_a_folder_that_cannot_be_made(folder: Path) -> None:
    def refused(self: Path, *arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", refused)
        with pytest.raises(ConfigError, match="expected a folder that results can be") as caught:
            begin(folder)
    one_message(caught.value, code=2)
    assert not folder.exists()


def test_a_report_that_cannot_be_written_leaves_a_finished_run(
    folder: Path, whole: dict[str, Any]
) -> None:
    run = begin(folder)
    (folder / REPORT).unlink()
    (folder / REPORT).mkdir()
    with pytest.raises(StorageError, match=r"report\.html"):
        run.report()
    with pytest.raises(StorageError, match=r"report\.html"):
        go_on(folder)
    assert {p.name for p in folder.iterdir()} == whole["files"]
    (folder / REPORT).rmdir()
    run.report()
    assert result(folder) == whole


@pytest.mark.parametrize(
    ("kind", "number"), [("progress", 1), ("saved", 1), ("candidate", 3), ("check", 1)]
)
def test_a_folder_removed_in_the_middle_of_a_run(kind: str, number: int, folder: Path) -> None:
    seen = 0

    def remove(event: Event) -> None:
        nonlocal seen
        seen += event.kind == kind
        if event.kind == kind and seen == number:
            shutil.rmtree(folder)

    with pytest.raises(StorageError, match="its folder is gone") as caught:
        begin(folder, remove)
    one_message(caught.value, code=4)
    assert not folder.exists(), "nothing is written where the user took everything away"
