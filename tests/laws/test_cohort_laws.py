"""Laws of cohorts: fair draws, nothing shared, resumed equals uninterrupted, wherever it ran."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress import Splits, compress, load_config
from safecompress.candidate import Candidate
from safecompress.cohorts.cohort import COMPRESSED, DENSE, Cohort
from safecompress.cohorts.plan import CohortPlan, deal
from safecompress.cohorts.processes import train_cohort
from safecompress.cohorts.rotation import TargetRotation
from safecompress.config import CompressConfig, ShadowsConfig
from safecompress.data import Ledger
from safecompress.errors import DataError, NonFiniteError, RunFolderError, WorkerError
from safecompress.events import Event, silent
from safecompress.files import read_tensors, tensors_digest
from safecompress.protocols import Rows
from safecompress.run.folder import MODEL
from safecompress.run.model_file import read_model
from safecompress.train import predict
from tests.forked_workers import ForkedWorker, forked_workers
from tests.planted_modules import plant_modules, ran

CONFIG: dict[str, Any] = {
    "seed": 3,
    "model": {"name": "mlp", "options": {"hidden": [16], "dropout": 0.1}},
    "dense": {"epochs": 3, "lr": 0.05, "batch_size": 20, "precision": "32-true"},
    "sparse": {
        "density": 0.3,
        "rounds": 2,
        "train": {"epochs": 4, "lr": 0.05, "batch_size": 20, "precision": "32-true"},
    },
    "steer": {"proposals": ["rigl", {"soft-labels": {"share": 1.0, "mask": "rigl"}}]},
    "baselines": [],
    "engine": {"threads": 1, "checkpoint_seconds": 0},
}


def rows(n: int = 240) -> Rows:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 12, generator=draw)
    return Rows(x, x[:, :3].argmax(dim=1), torch.arange(n) * 7)


def config(**changes: Any) -> CompressConfig:
    return load_config(CONFIG | changes)


def plan(**changes: Any) -> CohortPlan:
    return CohortPlan(config(**changes), rows(), class_names=("a", "b", "c"), members=100)


def digests(folder: Path) -> list[str]:
    return [tensors_digest(read_tensors(p)) for p in sorted(folder.glob("0*.safetensors"))]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The digests of four models that were trained in this process, one after the other."""
    cohort = Cohort.begin(tmp_path_factory.mktemp("here"), plan())
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_cohort(cohort, 4, ShadowsConfig(count=4, workers=1), listen=silent)
    finally:
        torch.set_num_threads(before)
    assert len(digests(cohort.folder)) == 4
    return digests(cohort.folder)


def test_rows_set_aside_are_the_same_for_every_model_and_judge_nobody(tmp_path: Path) -> None:
    whole = rows()
    aside, left = whole.take(torch.arange(40)), whole.take(torch.arange(40, len(whole)))
    ours = CohortPlan(config(), left, ("a", "b", "c"), members=100, reference=aside)
    Cohort.begin(tmp_path, ours)
    opened = Cohort.open(tmp_path).plan
    assert opened.key == ours.key
    assert ours.key != CohortPlan(config(), left, ("a", "b", "c"), members=100).key
    for number in range(3):
        splits = opened.splits(number)
        assert splits.reference is not None
        assert torch.equal(splits.reference.ids, aside.ids)
        sealed, _ = splits.open_sealed(Ledger(None), model_digest="test")
        for group in (splits.members, splits.steer.nonmembers, sealed.nonmembers):
            assert not torch.isin(group.ids, aside.ids).any()


@pytest.mark.parametrize("members", [1, 30, 50, 77, 99])
@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_every_row_is_seen_about_equally_often(members: int, count: int) -> None:
    seen = deal(torch.randn(100, 3), members=members, count=count, seed=1)
    assert bool((seen.sum(dim=1) == members).all())
    often = seen.sum(dim=0)
    assert int(often.max() - often.min()) <= 1


def test_a_larger_cohort_begins_with_the_smaller_one() -> None:
    x = torch.randn(60, 3)
    small, large = (deal(x, members=20, count=k, seed=5) for k in (4, 9))
    assert torch.equal(large[:4], small)
    assert not torch.equal(deal(x, members=20, count=4, seed=6), small)


def test_equal_rows_are_members_together() -> None:
    x = torch.randn(40, 3)
    x[20:30] = x[:10]
    seen = deal(x, members=18, count=12, seed=0)
    assert torch.equal(seen[:, 20:30], seen[:, :10])
    assert not torch.equal(seen[:, 10:20], seen[:, :10])


@pytest.mark.parametrize("members", [0, 50, 51])
def test_a_draw_that_leaves_nobody_out_is_refused(members: int) -> None:
    with pytest.raises(DataError, match="rows left that are not"):
        deal(torch.randn(50, 2), members=members, count=2, seed=0)


def test_two_rows_are_members_independently() -> None:
    """Over many models the pairs of rows meet about as often as chance would have it."""
    seen = deal(torch.randn(20, 2), members=10, count=2000, seed=0).double()
    together = seen.T @ seen / len(seen)
    apart = together[~torch.eye(20, dtype=torch.bool)]
    # Ten of twenty: 1/2 · 9/19, with a standard error of .0095 each over 1,000 free draws.
    assert float(apart.mean()) == pytest.approx(0.5 * 9 / 19, abs=1e-9)
    assert float((apart - 0.5 * 9 / 19).abs().max()) < 0.06


def test_a_model_learns_from_its_members_alone(tmp_path: Path) -> None:
    """Other labels on the rows it never sees change nothing that it says."""
    ours = plan()
    outside = ~ours.seen(1)[0]
    labels = torch.where(outside, (ours.rows.labels + 1) % 3, ours.rows.labels)
    theirs = CohortPlan(
        ours.config, Rows(ours.rows.inputs, labels, ours.rows.ids), ("a", "b", "c"), 100
    )
    said = []
    for name, each in (("ours", ours), ("theirs", theirs)):
        cohort = Cohort.begin(tmp_path / name, each)
        cohort.train(0)
        said.append(cohort.logits(0, DENSE))
    # The compressed models differ by the steering rows that chose them; the dense ones by nothing.
    assert torch.equal(*said)


def test_the_models_that_stay_are_those_that_said_it(tmp_path: Path) -> None:
    cohort = Cohort.begin(tmp_path, replace(plan(), keep_models=True))
    cohort.train(0)
    for kind in (DENSE, COMPRESSED):
        siblings = TargetRotation(cohort, 1, kind)
        said = predict(siblings.module(0), cohort.plan.rows).logits
        assert torch.allclose(said, siblings.logits[0], atol=1e-5)


def test_members_are_remembered_and_others_are_not(tmp_path: Path) -> None:
    """With labels drawn by lot, what a model knows of a row it can only have learned from it."""
    noise = Rows(rows().inputs, torch.randint(3, (240,)), torch.arange(240))
    recipe = config(dense=CONFIG["dense"] | {"epochs": 60})
    cohort = Cohort.begin(tmp_path, CohortPlan(recipe, noise, ("a", "b", "c"), members=100))
    for number in range(4):
        cohort.train(number)
    found = cohort.references(range(4), DENSE, noise.ids)
    assert float(found.log_odds[found.seen].mean() - found.log_odds[~found.seen].mean()) > 1.0


def test_trained_in_processes_equals_trained_here(here: list[str], tmp_path: Path) -> None:
    apart = Cohort.begin(tmp_path, plan())
    train_cohort(apart, 3, ShadowsConfig(count=4, workers=2), listen=silent)
    assert digests(apart.folder) == here[:3]
    command = ["pgrep", "-f", f"safecompress.cohorts.worker {apart.folder}"]
    assert subprocess.run(command, capture_output=True, check=False).stdout == b""


def test_trained_on_ray_equals_trained_here(
    here: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra safecompress[ray]")
    # Ray's processes look into the folder in which Ray is started before they look anywhere else.
    (project := tmp_path / "project").mkdir()
    monkeypatch.chdir(project)
    plant_modules(project)
    # Ray's processes give way to all others, and other tests never rest.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cohort.begin(tmp_path / "cluster", plan())
    try:
        train_cohort(cluster, 2, ShadowsConfig(count=4, workers=2, backend="ray"), listen=silent)
    finally:
        ray.shutdown()
    assert ran(project) == ""
    assert digests(cluster.folder) == here[:2]


def test_a_killed_worker_costs_its_job_only(
    here: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = forked_workers(monkeypatch)
    struck = Cohort.begin(tmp_path, plan())
    killed: list[ForkedWorker] = []

    def strike() -> None:
        """Kill the first worker once a model has a checkpoint."""
        while not killed:
            if any(struck.folder.glob("0*/state/*")):
                started[0].kill()
                killed.append(started[0])
            time.sleep(0.005)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    train_cohort(struck, 4, ShadowsConfig(count=4, workers=2), listen=silent)
    assert killed
    assert len(started) == 3
    assert digests(struck.folder) == here
    assert not any(worker.alive for worker in started)


def test_workers_that_keep_dying_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = Cohort.begin(tmp_path, plan())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="3 processes died"):
        train_cohort(cohort, 2, ShadowsConfig(count=4, workers=2), listen=silent)


def test_what_a_training_in_a_process_raises_is_raised_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = forked_workers(monkeypatch)
    wild = CONFIG["dense"] | {"lr": 1e30}
    cohort = Cohort.begin(tmp_path, plan(dense=wild))
    with pytest.raises(NonFiniteError, match="shadow model"):
        train_cohort(cohort, 2, ShadowsConfig(count=4, workers=2), listen=silent)
    assert len(started) == 2
    assert not any(worker.alive for worker in started)


def test_a_cohort_trains_no_model_twice(tmp_path: Path) -> None:
    cohort = Cohort.begin(tmp_path, plan())
    cohort.train(0)
    kept = cohort.file(0).stat().st_mtime_ns
    again = Cohort.begin(tmp_path, plan())
    assert again.missing(2) == [1]
    again.train(0)
    assert cohort.file(0).stat().st_mtime_ns == kept


def test_a_cohort_of_another_recipe_is_refused(tmp_path: Path) -> None:
    Cohort.begin(tmp_path, plan())
    with pytest.raises(RunFolderError, match="another recipe"):
        Cohort.begin(tmp_path, plan(seed=4))


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    cohort = Cohort.begin(tmp_path, plan())
    cohort.train(0)
    whole = cohort.file(0).read_bytes()
    cohort.file(0).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunFolderError, match=r"0000\.safetensors.*Delete it"):
        cohort.references([0], COMPRESSED, rows().ids)


def test_rows_of_another_source_are_refused(tmp_path: Path) -> None:
    cohort = Cohort.begin(tmp_path, plan())
    cohort.train(0)
    with pytest.raises(DataError, match="1 of 2 rows"):
        cohort.references([0], COMPRESSED, torch.tensor([7, 8]))


def test_references_follow_the_ids_asked_for(tmp_path: Path) -> None:
    cohort = Cohort.begin(tmp_path, plan())
    cohort.train(0)
    ids = rows().ids
    whole = cohort.references([0], COMPRESSED, ids)
    order = torch.randperm(len(ids))[:50]
    some = cohort.references([0], COMPRESSED, ids[order])
    assert torch.equal(some.log_odds, whole.log_odds[:, order])
    assert torch.equal(some.seen, whole.seen[:, order])
    assert torch.equal(whole.seen, plan().seen(1))


@pytest.mark.parametrize("search", ["tournament", "every-round"])
def test_a_replay_ends_in_the_model_that_the_search_chose(search: str, tmp_path: Path) -> None:
    """Neither proposal draws anything, so the path is all that made the model."""
    splits = _splits()
    steer = CONFIG["steer"] | {"search": search}
    first = compress(data=splits, config=config(steer=steer), out=tmp_path / "first")
    chosen = read_model(tmp_path / "first" / MODEL)
    lineage = tuple(chosen.metadata["lineage"])
    events: list[Event] = []
    compress(
        data=splits,
        config=config(steer=steer | {"replay": lineage}),
        out=tmp_path / "again",
        on_event=events.append,
    )
    again = read_model(tmp_path / "again" / MODEL)
    assert tensors_digest(again.weights) == tensors_digest(chosen.weights)
    assert tuple(again.metadata["lineage"]) == lineage
    assert sum(e.kind == "candidate" for e in events) == len(lineage)
    assert first.folder.name == "first"


def test_a_replay_of_nothing_keeps_the_first_mask(tmp_path: Path) -> None:
    replayed = config(steer=CONFIG["steer"] | {"replay": ()})
    compress(data=_splits(), config=replayed, out=tmp_path / "run")
    made: Candidate = read_model(tmp_path / "run" / MODEL).candidate()
    assert made.lineage == ()


def _splits() -> Splits:
    everything = rows()
    index = torch.arange(240)
    return Splits.from_rows(
        everything.take(index[:120]), everything.take(index[120:]), classes=3, seed=0
    )
