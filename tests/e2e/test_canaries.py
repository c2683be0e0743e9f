"""Runs with canaries: coins recorded before training, and what the finished model shows of them."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import Splits, compress, splits_from_arrays
from safecompress.compression.prepare import prepare
from safecompress.config import load_config
from safecompress.data import with_canaries
from safecompress.errors import ConfigError, DataError, RunFolderError
from safecompress.protocols import Rows
from tests.small_runs import SETTINGS, Stopped, brisk, result, stopping_at

TRAIN = {"epochs": 60, "lr": 0.1, "batch_size": 50, "precision": "32-true"}
MEMORIZING: dict[str, Any] = {
    "dense": TRAIN,
    "sparse": {"density": 0.9, "rounds": 0, "train": TRAIN},
    "steer": {"attacks": ["loss"]},
    "baselines": [],
}
CHECK = {"measure": "epsilon-lower-bound", "condition": {"at_most": 1.0}}


@pytest.fixture(autouse=True)
def _brisk():
    with brisk():
        yield


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 96), nn.ReLU(), nn.Linear(96, 3))


def splits(rows: int = 900) -> Splits:
    x = torch.randn(rows, 24, generator=torch.Generator().manual_seed(0))
    return splits_from_arrays(x, x[:, :3].argmax(dim=1), seed=0)


def run(folder: Path, *, canaries: Any, checks: Any = (CHECK,), **changes: Any):
    verdict = {"canaries": canaries, "checks": list(checks)}
    config = SETTINGS | MEMORIZING | {"verdict": verdict} | changes
    return compress(make_model, splits(), config=config, out=folder)


def test_a_model_that_memorizes_shows_an_epsilon_well_above_0(tmp_path):
    made = run(tmp_path / "run", canaries={"count": 100})
    document = made.verdict.document.to_json()
    found = document["canaries"]
    assert found["epsilon"] > 1.5
    assert found["epsilon"] <= found["reach"]
    (check,) = [c for c in document["checks"] if c["name"].startswith("epsilon-lower-bound")]
    assert check["status"] == "FAIL"
    assert check["value"] == check["low"] >= found["epsilon"] - 0.5
    assert document["verdict"] == "FAIL"
    assert found["text"] in document["limits"]
    assert found["text"] in unescape((tmp_path / "run" / "report.html").read_text())


def test_the_coins_are_recorded_before_any_training(tmp_path):
    config = SETTINGS | MEMORIZING | {"verdict": {"canaries": {"count": 60}}}
    with pytest.raises(Stopped):
        compress(
            make_model,
            splits(),
            config=config,
            out=tmp_path / "run",
            on_event=stopping_at("stage", 1),
        )
    assert not (tmp_path / "run" / "dense.safetensors").exists()
    recorded = json.loads((tmp_path / "run" / "canaries.json").read_text())
    prepared = prepare(load_config(tmp_path / "run" / "config.yaml"), make_model, splits())
    placed = prepared.splits.canaries
    assert recorded == placed.to_json()
    members = set(prepared.splits.members.ids.tolist())
    for row, included in zip(recorded["ids"], recorded["included"], strict=True):
        assert (row in members) is included


def test_a_resumed_run_places_the_same_canaries_and_ends_in_the_same_bits(tmp_path):
    short = {"dense": TRAIN | {"epochs": 4}}
    run(tmp_path / "a" / "run", canaries={"count": 40}, **short)
    config = SETTINGS | MEMORIZING | short
    config |= {"verdict": {"canaries": {"count": 40}, "checks": [CHECK]}}
    with pytest.raises(Stopped):
        compress(
            make_model,
            splits(),
            config=config,
            out=tmp_path / "b" / "run",
            on_event=stopping_at("progress", 4),
        )
    compress(make_model, splits(), resume=tmp_path / "b" / "run")
    assert result(tmp_path / "a" / "run") == result(tmp_path / "b" / "run")
    with pytest.raises(RunFolderError, match="the data changed"):
        compress(make_model, splits(890), resume=tmp_path / "b" / "run")


def test_dp_sgd_s_bound_is_below_its_guarantee(tmp_path):
    pytest.importorskip("opacus")
    private = {"epochs": 3, "lr": 0.1, "batch_size": 50, "precision": "32-true"}
    made = run(
        tmp_path / "run",
        canaries={"count": 100},
        dense=private | {"defenses": [{"dp-sgd": {"noise": 1.0}}]},
        sparse={"density": 0.9, "rounds": 0, "train": private},
        steer={"attacks": ["loss"], "defenses": [{"dp-sgd": {"noise": 1.0}}]},
    )
    document = made.verdict.document.to_json()
    assert document["canaries"]["delta"] == document["differential_privacy"]["delta"]
    assert document["canaries"]["epsilon"] < document["differential_privacy"]["epsilon"]
    assert "refutes" not in document["canaries"]["text"]


@pytest.mark.parametrize("kind", ["mislabeled", "natural"])
def test_no_canary_judges_or_steers_and_sealed_rows_stay_as_they_are(kind):
    plain = splits()
    placed = with_canaries(plain, 80, kind=kind, seed=3)
    canaries = placed.canaries
    assert placed.sealed_digest == plain.sealed_digest
    assert torch.equal(placed.ordinary_members.ids, plain.members.ids)
    others = {
        "steering members": placed.steer.members.ids,
        "steering non-members": placed.steer.nonmembers.ids,
        "ordinary members": placed.ordinary_members.ids,
    }
    for ids in others.values():
        assert not set(ids.tolist()) & set(canaries.rows.ids.tolist())
    trained = placed.members.ids.tolist()[len(plain.members) :]
    assert trained == canaries.rows.ids[canaries.included].tolist()
    before = {int(i): int(y) for i, y in zip(*_pairs(plain.steer.nonmembers), strict=True)}
    wrong = [before[int(i)] != int(y) for i, y in zip(*_pairs(canaries.rows), strict=True)]
    assert all(wrong) if kind == "mislabeled" else not any(wrong)
    assert 20 < int(canaries.included.sum()) < 60


def _pairs(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.ids, rows.labels


def test_without_canaries_the_splits_and_the_document_are_as_before(tmp_path):
    plain = splits()
    assert with_canaries(plain, 0, kind="natural", seed=0) is plain
    short = {"dense": TRAIN | {"epochs": 1}, "sparse": MEMORIZING["sparse"] | {"train": TRAIN}}
    made = run(tmp_path / "run", canaries={"count": 0}, checks=(), **short)
    assert "canaries" not in made.verdict.document.to_json()
    assert not (tmp_path / "run" / "canaries.json").exists()


@pytest.mark.parametrize(
    ("verdict", "error", "message"),
    [
        ({"canaries": {"count": 5}}, ConfigError, "at least 10"),
        ({"canaries": {"count": 400}}, DataError, "at most half of them can be canaries"),
        ({"checks": [CHECK]}, ConfigError, "reads canaries, and the run has none"),
    ],
)
def test_what_cannot_work_is_refused_before_training(verdict, error, message):
    with pytest.raises(error, match=message):
        prepare(load_config(SETTINGS | MEMORIZING | {"verdict": verdict}), make_model, splits())


def test_given_weights_are_refused():
    verdict = {"canaries": {"count": 20}}
    data = splits_from_arrays(
        torch.randn(400, 24),
        torch.arange(400) % 3,
        seed=0,
        weights_given=True,
        split={"membership": "unseen"},
    )
    with pytest.raises(ConfigError, match="coins must be flipped before any training"):
        prepare(load_config(SETTINGS | MEMORIZING | {"verdict": verdict}), make_model(), data)


def test_shadow_models_know_nothing_of_canaries(tmp_path):
    short = TRAIN | {"epochs": 2}
    made = run(
        tmp_path / "run",
        canaries={"count": 40},
        checks=({"measure": {"attack": {"attack": "rmia"}}, "condition": {"at_most": 0.9}},),
        dense=short,
        sparse={"density": 0.9, "rounds": 0, "train": short},
        shadows={"count": 4, "workers": 1},
    )
    (check,) = [c for c in made.verdict.checks if c.name.startswith("rmia")]
    assert check.estimate is not None
    configs = [load_config(p) for p in (tmp_path / "run").glob("**/shadows/**/config.yaml")]
    assert configs
    assert all(config.verdict.canaries.count == 0 for config in configs)
