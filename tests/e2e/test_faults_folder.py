"""What happens to a run folder between two processes: kills, locks, damage, changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safecompress import compress
from safecompress.cli.streams import print_anything
from safecompress.compress import Run
from safecompress.display.console import EventDisplay
from safecompress.errors import ConfigError, DataError, RunFolderError, UsageError
from safecompress.events import Event, Listener, silent
from safecompress.run.checkpoints import serials
from safecompress.run.folder import CONFIG, DENSE, HISTORY, PROVENANCE, read_history
from tests import crash_driver
from tests.commands import command
from tests.small_runs import (
    SETTINGS,
    Stopped,
    begin,
    go_on,
    make_model,
    result,
    splits,
    stopping_at,
)

pytestmark = pytest.mark.usefixtures("brisk_runs")


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped in its second round."""
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        begin(folder, stopping_at("candidate", 4))
    assert len(serials(folder / "state")) == 2
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Kills

KILLS = [
    "SIGKILL:compression.pipeline:provenance:1",
    "SIGKILL:files:sync_folder:9",
    "SIGKILL:run.folder:write_checkpoint:1",
    "SIGKILL:run.checkpoints:write_json:10",
    "SIGKILL:run.folder:drop_others:10",
    "SIGKILL:compression.pipeline:write_model:3",
    "SIGKILL:compression.search:Search._select:1",
    "SIGKILL:compress:junit_xml:1",
    "SIGTERM:compression.evaluation:CandidateEvaluator.__call__:3",
    "SIGTERM:compress:judge:1",
]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run for each kill."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    root = tmp_path_factory.mktemp("killed")
    done = command(root, *KILLS, program=crash_driver.main)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("place", KILLS)
def test_a_killed_run_is_taken_up_by_another_process(
    place: str, killed: Path, whole: dict[str, Any]
) -> None:
    folder = killed / place
    assert (folder / ".lock").exists(), "the dead process left its lock file"
    assert not (folder / "report.html").exists(), "the kill came too late"
    read_history(folder)
    go_on(folder)
    # The ledger lies beside all these runs; the same model looked at the same rows.
    assert result(folder) == whole
    assert not list(folder.rglob("*.tmp"))


# Two processes on one folder


def test_a_second_run_on_a_busy_folder_is_refused_and_the_first_goes_on(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    folder, refusals = tmp_path / "run", []

    def meddle(event: Event) -> None:
        if event.kind != "candidate":
            return
        with pytest.raises(RunFolderError) as caught:
            go_on(folder)
        refusals.append(str(caught.value))
        with pytest.raises(RunFolderError, match="holds an unfinished run"):
            begin(folder)

    begin(folder, meddle)
    assert len(refusals) == 4
    assert all("another process is working on this run" in text for text in refusals)
    assert result(folder) == whole


def test_the_lock_of_a_living_process_holds_and_that_of_a_dead_one_does_not(
    stopped: Path, whole: dict[str, Any]
) -> None:
    hold = (
        "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(stopped / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    other.stdout.readline()
    before = contents(stopped)
    try:
        with pytest.raises(RunFolderError, match=r"another process .* delete .*\.lock") as caught:
            go_on(stopped)
        assert caught.value.exit_code == 2
        assert contents(stopped) == before
    finally:
        other.kill()
        other.communicate()
    go_on(stopped)
    assert result(stopped) == whole


# Damage


def newest(folder: Path, suffix: str) -> Path:
    return folder / "state" / f"{serials(folder / 'state')[-1]:06d}.{suffix}"


def harm(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 16
    path.write_bytes(data[: len(data) * 2 // 3] if how == "truncate" else data)


@pytest.mark.parametrize("how", ["flip", "truncate"])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_damaged_checkpoint_costs_one_checkpoint(
    suffix: str, how: str, stopped: Path, whole: dict[str, Any]
) -> None:
    harm(newest(stopped, suffix), how)
    notes: list[str] = []
    go_on(stopped, lambda e: notes.append(e.text) if e.kind == "note" else None)
    assert len(notes) == 1
    assert notes[0].startswith("damaged: ")
    assert result(stopped) == whole


def test_a_history_that_lost_committed_lines_is_refused_and_left_alone(stopped: Path) -> None:
    harm(stopped / HISTORY, "truncate")
    before = contents(stopped)
    with pytest.raises(RunFolderError, match=r"history\.jsonl.*in a new folder"):
        go_on(stopped)
    assert contents(stopped) == before


@pytest.mark.parametrize("how", ["flip", "truncate"])
@pytest.mark.parametrize("name", [DENSE, "magnitude.safetensors"])
def test_a_damaged_model_of_an_earlier_stage_is_refused(name: str, how: str, stopped: Path) -> None:
    harm(stopped / name, how)
    before = contents(stopped)
    with pytest.raises(DataError, match=name):
        go_on(stopped)
    assert contents(stopped) == before


def test_a_lost_model_of_an_earlier_stage_is_refused(stopped: Path) -> None:
    (stopped / DENSE).unlink()
    with pytest.raises(RunFolderError, match=r"dense\.safetensors: missing"):
        go_on(stopped)


@pytest.mark.parametrize("how", ["truncate", "list"])
def test_a_damaged_provenance_is_refused(how: str, stopped: Path) -> None:
    path = stopped / PROVENANCE
    if how == "list":
        path.write_text("[1]")
    else:
        harm(path, how)
    with pytest.raises(RunFolderError, match=r"provenance\.json.*in a new folder"):
        go_on(stopped)


# Changes


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        ("density: 0.5", "density: 0.4", RunFolderError, "the configuration changed"),
        ("seed: 0", "seed: 1", RunFolderError, "changed since the run began"),
        ("rounds: 2", "rounds: two", ConfigError, "rounds"),
        ("rounds: 2", "rounds: [", ConfigError, r"config\.yaml"),
    ],
)
def test_a_configuration_that_was_edited_is_refused(
    old: str, new: str, error: type[UsageError], match: str, stopped: Path
) -> None:
    path = stopped / CONFIG
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    before = contents(stopped)
    with pytest.raises(error, match=match) as caught:
        go_on(stopped)
    assert caught.value.exit_code == 2
    assert contents(stopped) == before


def from_file(path: Path, out: Path, listen: Listener = silent, *, resume: bool = False) -> Run:
    if resume:
        return compress(make_model, resume=out, on_event=listen)
    config = SETTINGS | {"data": {"source": {"source": "npz", "path": str(path)}}}
    return compress(make_model, config=config, out=out, on_event=listen)


def test_a_data_file_that_changed_is_refused_and_put_back_it_serves(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    np.savez(path, x=x, y=x[:, :3].argmax(axis=1))
    good = path.read_bytes()
    with pytest.raises(Stopped):
        from_file(path, tmp_path / "run", stopping_at("candidate", 3))
    changed = x.copy()
    changed[17, 2] += 1e-3
    np.savez(path, x=changed, y=x[:, :3].argmax(axis=1))
    with pytest.raises(RunFolderError, match="the data changed since the run began"):
        from_file(path, tmp_path / "run", resume=True)
    path.unlink()
    with pytest.raises(DataError, match=r"data\.npz"):
        from_file(path, tmp_path / "run", resume=True)
    path.write_bytes(good)
    from_file(path, tmp_path / "run", resume=True)
    from_file(path, tmp_path / "other")
    ours, theirs = (result(tmp_path / name) for name in ("run", "other"))
    assert ours == theirs


def test_other_starting_weights_are_refused(stopped: Path) -> None:
    def other() -> nn.Module:
        model = make_model()
        with torch.no_grad():
            next(model.parameters())[0, 0] += 1e-6
        return model

    with pytest.raises(RunFolderError, match="starting weights changed"):
        compress(other, splits(), resume=stopped)


def test_other_splits_are_refused(stopped: Path) -> None:
    with pytest.raises(RunFolderError, match="the data changed"):
        compress(make_model, splits(seed=1), resume=stopped)


# What is the user's stays the user's


def test_a_finished_run_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begin(folder)
    before = contents(folder)
    with pytest.raises(RunFolderError, match="holds a finished run"):
        begin(folder)
    assert contents(folder) == before


def test_a_folder_with_other_files_is_never_used(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "000001.json").write_text("mine")
    with pytest.raises(RunFolderError, match=r"not empty \(it holds 'state/000001\.json'\)"):
        begin(folder)
    assert contents(folder) == {folder / "state" / "000001.json": b"mine"}


# Pipes


def test_a_run_whose_reader_has_gone_ends_with_its_verdict(
    stopped: Path, whole: dict[str, Any]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", sys.stderr)
        print_anything()
        with EventDisplay(as_json=True) as watcher:
            run = go_on(stopped, watcher)
    assert run.verdict.exit_code in {0, 1, 3}
    assert result(stopped) == whole


def test_a_fault_leaves_no_mark_on_the_rows_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        begin(tmp_path / "run", stopping_at("check", 1))
    assert splits().digests() == splits.__wrapped__().digests()
