from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from safecompress.candidate import Candidate
from safecompress.errors import RunFolderError, StorageError
from safecompress.run import checkpoints
from safecompress.run import folder as runs
from safecompress.run.folder import Checkpoint, RunFolder
from safecompress.topology import Topology


def candidate(value: float = 1.0) -> Candidate:
    mask = torch.tensor([[True, False], [True, True]])
    return Candidate(
        weights={"w": torch.full((2, 2), value), "bn.num": torch.tensor(3)},
        optimizer={"w": {"momentum_buffer": torch.randn(2, 2), "step": torch.tensor(4.0)}},
        topology=Topology({"w": mask}),
        ever_active={"w": mask},
        moving_average={"w": torch.randn(2, 2)},
        defenses={"adversarial": {"net.0.weight": torch.randn(3)}},
        step=17,
        lineage=("set", "rigl"),
    )


def same(a: Candidate, b: Candidate) -> bool:
    x, y = a.tensors(), b.tensors()
    return (
        x.keys() == y.keys()
        and all(torch.equal(x[k], y[k]) for k in x)
        and (a.step, a.lineage) == (b.step, b.lineage)
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "seed: 0\n")


def test_checkpoint_round_trip(folder: RunFolder) -> None:
    work = {"population/0": candidate(), "r1c1/1": candidate(2.0)}
    folder.commit(Checkpoint("search", 3, work, {"best_score": 0.25}), lines=[{"round": 1}])
    back = folder.restore()
    assert back is not None
    assert (back.stage, back.round, back.notes) == ("search", 3, {"best_score": 0.25})
    assert back.work.keys() == work.keys()
    assert all(same(back.work[k], work[k]) for k in work)
    assert folder.history() == [{"round": 1}]


def test_the_last_two_checkpoints_are_kept(folder: RunFolder) -> None:
    for number in range(4):
        folder.commit(Checkpoint("search", number, {"c": candidate(number)}))
    assert checkpoints.serials(folder.path / "state") == [3, 4]
    assert len(list((folder.path / "state").iterdir())) == 4


def test_history_is_cut_back_to_the_commit(folder: RunFolder) -> None:
    folder.commit(Checkpoint("search"), lines=[{"round": 1}])
    with (folder.path / runs.HISTORY).open("a") as handle:
        handle.write('{"round": 2}\n{"rou')
    folder.release()
    reopened = RunFolder.reopen(folder.path)
    assert reopened.history() == [{"round": 1}]


def test_a_kill_between_tensors_and_pointer_keeps_the_old_checkpoint(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.commit(Checkpoint("search", 1, {"c": candidate(1.0)}), lines=[{"round": 1}])

    def killed(path: Path, value: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr(checkpoints, "write_json", killed)
    with pytest.raises(StorageError):
        folder.commit(Checkpoint("search", 2, {"c": candidate(2.0)}), lines=[{"round": 2}])
    monkeypatch.undo()
    folder.release()
    reopened = RunFolder.reopen(folder.path)
    back = reopened.restore()
    assert back is not None
    assert back.round == 1
    assert float(back.work["c"].weights["w"][0, 0]) == 1.0
    assert reopened.history() == [{"round": 1}]


def test_two_processes_cannot_share_a_folder(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="another process"):
        RunFolder.reopen(folder.path)


def test_new_runs_refuse_occupied_folders(folder: RunFolder, tmp_path: Path) -> None:
    folder.release()
    with pytest.raises(RunFolderError, match="--resume"):
        RunFolder.create(folder.path, "seed: 0\n")
    (folder.path / runs.VERDICT).write_text("{}")
    with pytest.raises(RunFolderError, match="finished run"):
        RunFolder.create(folder.path, "seed: 0\n")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    with pytest.raises(RunFolderError, match=r"thesis\.tex"):
        RunFolder.create(foreign, "seed: 0\n")
    with pytest.raises(RunFolderError, match="not a folder"):
        RunFolder.create(foreign / "thesis.tex", "seed: 0\n")


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run to resume"):
        RunFolder.reopen(tmp_path)


def damage(path: Path, how: str) -> None:
    """Truncate a file, flip one bit in its middle, empty it, or delete it."""
    data = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
    elif how == "truncate":
        path.write_bytes(data[:-5])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncate", "flip", "empty", "delete"])
@pytest.mark.parametrize("part", ["safetensors", "json", "history"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    folder: RunFolder, part: str, how: str
) -> None:
    if (part, how) == ("json", "delete"):
        pytest.skip("a checkpoint without its document was never committed")
    for number in (1, 2, 3):
        folder.commit(
            Checkpoint("search", number, {"c": candidate(number)}), lines=[{"round": number}]
        )
    folder.release()
    history = folder.path / runs.HISTORY
    whole = history.read_bytes().splitlines(keepends=True)
    if part == "history":
        # Only what the last commit added is damaged; all before it is as the older one knew it.
        last = folder.path / "last"
        last.write_bytes(whole[2])
        damage(last, how)
        history.write_bytes(b"".join(whole[:2]) + (last.read_bytes() if last.exists() else b""))
    else:
        damage(folder.path / "state" / f"000003.{part}", how)
    reopened = RunFolder.reopen(folder.path)
    back = reopened.restore()
    assert back is not None
    assert back.round == 2
    assert float(back.work["c"].weights["w"][0, 0]) == 2.0
    assert history.read_bytes() == b"".join(whole[:2])
    assert "damaged" in reopened.warning
    reopened.commit(Checkpoint("search", 3, {"c": candidate(3)}), lines=[{"round": 3}])
    reopened.release()
    again = RunFolder.reopen(folder.path)
    assert not again.warning
    assert again.history() == [{"round": 1}, {"round": 2}, {"round": 3}]


def test_without_any_whole_checkpoint_a_folder_is_refused_and_left_alone(
    folder: RunFolder,
) -> None:
    for number in (1, 2):
        folder.commit(Checkpoint("search", number, {"c": candidate()}), lines=[{"round": number}])
    folder.release()
    damage(folder.path / runs.HISTORY, "truncate")
    damage(folder.path / "state" / "000001.safetensors", "flip")
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    with pytest.raises(RunFolderError, match="no whole checkpoint"):
        RunFolder.reopen(folder.path)
    assert {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("key", ["round", "stage", "history_bytes", "notes"])
def test_a_checkpoint_document_that_was_edited_does_not_count(folder: RunFolder, key: str) -> None:
    folder.commit(Checkpoint("search", 1, {"c": candidate()}), lines=[{"round": 1}])
    folder.release()
    path = folder.path / "state" / "000001.json"
    envelope = json.loads(path.read_text())
    changes = {"round": 7, "stage": "dense", "history_bytes": 0, "notes": {"best_score": 1.0}}
    envelope["checkpoint"][key] = changes[key]
    path.write_text(json.dumps(envelope))
    with pytest.raises(RunFolderError, match="no whole checkpoint"):
        RunFolder.reopen(folder.path)


class NoLock:
    """A lock on a file system that does not have any."""

    def __init__(self, path: Path) -> None:
        del path

    def acquire(self, timeout: float) -> None:
        """Succeed."""

    def release(self) -> None:
        """Succeed."""


def test_a_second_writer_is_noticed_where_locks_do_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FileLock", NoLock)
    here = RunFolder.create(tmp_path / "run", "seed: 0\n")
    here.commit(Checkpoint("search", 1), lines=[{"round": 1}])
    there = RunFolder.reopen(tmp_path / "run")
    there.commit(Checkpoint("search", 2), lines=[{"round": 2}])
    with pytest.raises(RunFolderError, match="another process has written"):
        here.commit(Checkpoint("search", 2), lines=[{"round": 2}])
    there.commit(Checkpoint("search", 3), lines=[{"round": 3}])
    assert there.history() == [{"round": 1}, {"round": 2}, {"round": 3}]


def test_a_failed_commit_leaves_nothing_between_its_neighbors(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.commit(Checkpoint("search", 1), lines=[{"round": 1}])

    def full(path: Path, value: object) -> None:
        raise StorageError("full")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "write_json", full)
        with pytest.raises(StorageError):
            folder.commit(Checkpoint("search", 2), lines=[{"round": "lost"}])
    folder.commit(Checkpoint("search", 2), lines=[{"round": 2}])
    assert folder.history() == [{"round": 1}, {"round": 2}]
