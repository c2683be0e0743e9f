from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from safecompress import runs
from safecompress.candidate import Candidate
from safecompress.errors import RunFolderError, StorageError
from safecompress.runs import Checkpoint, RunFolder
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


def test_only_the_last_checkpoint_is_kept(folder: RunFolder) -> None:
    for number in range(4):
        folder.commit(Checkpoint("search", number, {"c": candidate(number)}))
    assert len(list((folder.path / "state").glob("*.safetensors"))) == 1


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

    monkeypatch.setattr(runs, "write_json", killed)
    with pytest.raises(StorageError):
        folder.commit(Checkpoint("search", 2, {"c": candidate(2.0)}), lines=[{"round": 2}])
    monkeypatch.undo()
    folder.release()
    reopened = RunFolder.reopen(folder.path)
    back = reopened.restore()
    assert back is not None
    assert back.round == 1
    assert same(back.work["c"], back.work["c"].evolve())
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


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "pointer"])
def test_damaged_checkpoints_are_refused(folder: RunFolder, damage: str) -> None:
    folder.commit(Checkpoint("search", 1, {"c": candidate()}))
    (file,) = (folder.path / "state").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(data[:-5])
    elif damage == "flip":
        data[-3] ^= 1
        file.write_bytes(data)
    elif damage == "delete":
        file.unlink()
    else:
        (folder.path / "state" / "current.json").write_text(json.dumps([1]))
    with pytest.raises(RunFolderError, match="damaged"):
        folder.restore()
