"""The loop from end to end on small data: what it keeps, what it writes, what it never does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import Splits, compress, load, splits_from_arrays
from safecompress.errors import (
    ConfigError,
    MembershipError,
    ModelError,
    NonFiniteError,
    RunFolderError,
)
from safecompress.events import Event
from safecompress.run.folder import DENSE, MODEL, RunFolder, read_history
from safecompress.run.model_file import read_model
from safecompress.train import Trainer, predict
from tests.small_runs import taught

TRAIN = {"epochs": 4, "lr": 0.05, "batch_size": 32, "precision": "32-true"}
SPARSE = {"density": 0.2, "rounds": 2, "settle_epochs": 1, "train": TRAIN}
PROPOSALS = ["rigl", "set", {"update": {"drop": "magnitude", "grow": "momentum"}}]


def make_splits(*, membership: str | None = None, seed: int = 0) -> Splits:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(1200, 10, generator=draw)
    y = (x[:, :3].argmax(dim=1) + torch.randint(0, 2, (1200,), generator=draw)) % 3
    if membership is None:
        return splits_from_arrays(x, y, seed=0)
    return splits_from_arrays(
        x[:600],
        y[:600],
        test=(x[600:], y[600:]),
        split={"membership": membership},
        seed=0,
        weights_given=True,
    )


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 3))


def settings(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "sparse": SPARSE,
        "steer": {"proposals": PROPOSALS, "attacks": ["loss", "modified-entropy"]},
        "engine": {"threads": 1},
    } | changes
    base["steer"] = {"search": "every-round"} | base["steer"]
    return base


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    events: list[Event] = []
    folder = tmp_path_factory.mktemp("runs") / "small"
    compress(make_model, make_splits(), config=settings(), out=folder, on_event=events.append)
    return folder, events


def test_the_run_folder_is_complete(run_folder: tuple[Path, list[Event]]) -> None:
    folder, _ = run_folder
    assert {p.name for p in folder.iterdir()} >= {
        "config.yaml",
        "provenance.json",
        "preprocessing.json",
        "history.jsonl",
        "dense.safetensors",
        "magnitude.safetensors",
        "model.safetensors",
        "verdict.json",
        "figures.json",
        "junit.xml",
        "report.html",
    }
    assert not [p for p in folder.rglob("*") if p.suffix in {".pt", ".pkl", ".tmp"}]


def test_verdict_json_is_as_documented(run_folder: tuple[Path, list[Event]]) -> None:
    document = json.loads((run_folder[0] / "verdict.json").read_text())
    assert document["schema_version"] == 1
    assert document["verdict"] in {"PASS", "FAIL", "INCONCLUSIVE", "ERROR"}
    assert {"density", "parameters", "nonzeros", "accuracy", "dense"} <= document["model"].keys()
    assert [row["name"] for row in document["comparison"]] == ["dense", "magnitude", "compressed"]
    assert document["comparison"][0]["difference_to_dense"] is None
    assert document["comparison"][2]["difference_to_dense"]["loss.auc"]["low"] is not None
    assert document["looks"] == 1
    for check in document["checks"]:
        if check["value"] is not None:
            assert check["low"] <= check["value"] <= check["high"]
            assert check["seconds"] >= 0
    names = [c["name"] for c in document["checks"]]
    assert "control: blind baseline" in names
    assert "control: untouched model, loss" in names


def test_history_has_one_line_a_candidate_and_one_choice_a_round(
    run_folder: tuple[Path, list[Event]],
) -> None:
    history = read_history(run_folder[0])
    assert len(history) == 2 * len(PROPOSALS)
    for number in (1, 2):
        lines = [h for h in history if h["round"] == number]
        assert sum(h["selected"] for h in lines) == 1
        assert all(h["reason"] for h in lines)
        assert all("the same as" in h["reason"] for h in lines if h["status"] == "discarded")
        tested = [h for h in lines if h["status"] == "ok"]
        assert sorted(h["rank"] for h in tested) == list(range(1, len(tested) + 1))
        assert len({h["step"] for h in tested}) == 1, "all settle equally long"
        assert all(h["seconds"]["tests"].keys() == {"loss", "modified-entropy"} for h in tested)


def test_the_target_count_is_kept_exactly(run_folder: tuple[Path, list[Event]]) -> None:
    stored = read_model(run_folder[0] / MODEL)
    assert stored.topology.nonzeros == round(0.2 * (10 * 40 + 40 * 3))
    for name, mask in stored.topology.masks.items():
        assert not stored.weights[name][~mask].any()
    assert len(stored.metadata["lineage"]) == 2


def test_load_gives_the_judged_model_back(run_folder: tuple[Path, list[Event]]) -> None:
    module = load(run_folder[0], model=make_model)
    assert not module.training
    stored = read_model(run_folder[0] / MODEL)
    assert all(torch.equal(v, stored.weights[k]) for k, v in module.state_dict().items())
    with pytest.raises(ModelError, match="model=make_model"):
        load(run_folder[0])
    with pytest.raises(ModelError, match="does not fit"):
        load(run_folder[0], model=lambda: nn.Linear(2, 3))
    with pytest.raises(RunFolderError, match=r"model\.safetensors"):
        load(run_folder[0].parent)


def test_events_tell_the_story(run_folder: tuple[Path, list[Event]]) -> None:
    kinds = [e.kind for e in run_folder[1]]
    assert kinds.count("candidate") == 6
    assert kinds.count("selected") == 2
    assert kinds.count("saved") == 3
    # In steps, because seconds depend on what else the machine does. Those of candidates that are
    # the same as another are planned and never taken.
    told = [e.data for e in run_folder[1] if e.kind == "progress"]
    left = [data["eta"] * data["rate"] for data in told]
    assert left[-1] < 0.2 * max(left)


def test_same_seed_same_bits_and_another_seed_another_model(
    run_folder: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    compress(make_model, make_splits(), config=settings(), out=tmp_path / "again")
    compress(make_model, make_splits(), config=settings(seed=1), out=tmp_path / "other")
    first = (run_folder[0] / MODEL).read_bytes()
    assert (tmp_path / "again" / MODEL).read_bytes() == first
    assert (tmp_path / "other" / MODEL).read_bytes() != first


def test_looks_at_the_same_sealed_rows_are_counted(tmp_path: Path) -> None:
    looks = []
    for name, density in (("a", 0.2), ("b", 0.3), ("c", 0.2)):
        run = compress(
            make_model,
            make_splits(),
            config=settings(sparse=SPARSE | {"density": density}, baselines=[]),
            out=tmp_path / name,
        )
        looks.append(run.verdict.document.to_json()["looks"])
    assert looks == [1, 2, 2], "a second model is a second look; the first one again is none"


def test_a_trained_model_is_taken_as_it_is_and_judged_against(tmp_path: Path) -> None:
    splits = make_splits(membership="pair")
    model = taught(make_model(), splits.members)
    before = copy.deepcopy(model.state_dict())
    run = compress(
        model,
        splits,
        config=settings(dense={"epochs": 0}),
        out=tmp_path / "run",
    )
    dense = read_model(tmp_path / "run" / DENSE)
    assert all(torch.equal(dense.weights[k], before[k]) for k in before)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert run.model is not model
    assert run.report() == tmp_path / "run" / "report.html"
    names = [c.name for c in run.verdict.checks]
    assert not any("untouched" in n for n in names), "a given model cannot vouch for itself"


def test_a_trained_model_with_fresh_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MembershipError, match="false PASS"):
        compress(make_model(), make_splits(), config=settings(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_from_scratch_without_a_dense_model(tmp_path: Path) -> None:
    checks = [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.9}}]
    run = compress(
        make_model,
        make_splits(),
        config=settings(
            dense={"epochs": 0},
            sparse=SPARSE | {"initialize": "scratch"},
            verdict={"checks": checks},
        ),
        out=tmp_path / "run",
    )
    assert run.verdict.status.value == "PASS"
    assert [row["name"] for row in run.verdict.document.to_json()["comparison"]] == ["compressed"]


def test_no_rounds_is_static_training(tmp_path: Path) -> None:
    run = compress(
        make_model,
        make_splits(),
        config=settings(sparse=SPARSE | {"rounds": 0}),
        out=tmp_path / "run",
    )
    magnitude = read_model(tmp_path / "run" / "magnitude.safetensors")
    chosen = read_model(tmp_path / "run" / MODEL)
    assert all(torch.equal(v, magnitude.weights[k]) for k, v in chosen.weights.items()), (
        "without updates the search is the magnitude baseline, on the same batches"
    )
    assert read_history(tmp_path / "run") == []
    assert run.folder == tmp_path / "run"


def test_a_population_keeps_several_lineages(tmp_path: Path) -> None:
    steer = {"proposals": PROPOSALS, "attacks": ["loss"], "population": 2, "objective": "pareto"}
    compress(make_model, make_splits(), config=settings(steer=steer), out=tmp_path / "run")
    history = read_history(tmp_path / "run")
    assert [h["round"] for h in history].count(1) == 3
    assert [h["round"] for h in history].count(2) == 6
    assert sum(h["selected"] for h in history if h["round"] == 2) == 2


def test_patience_ends_the_updates_early(tmp_path: Path) -> None:
    sparse = SPARSE | {"rounds": 4, "settle_epochs": 0.25, "patience": 1}
    steer = {"proposals": ["keep"], "objective": {"tm": {"trade_off": 0.0}}, "attacks": ["loss"]}
    compress(
        make_model, make_splits(), config=settings(sparse=sparse, steer=steer), out=tmp_path / "run"
    )
    assert max(h["round"] for h in read_history(tmp_path / "run")) < 4


def diverging(original: Any, *, every: bool) -> Any:
    calls = {"n": 0}

    def outputs(self: Trainer, candidate: Any, rows: Any) -> Any:
        if candidate.lineage and candidate.step:
            calls["n"] += 1
            if every or candidate.lineage[-1] == "set":
                raise NonFiniteError("planted NaN")
        return original(self, candidate, rows)

    return outputs


@pytest.mark.parametrize("every", [False, True])
def test_nan_discards_a_candidate_and_never_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    monkeypatch.setattr(Trainer, "outputs", diverging(Trainer.outputs, every=every))
    compress(make_model, make_splits(), config=settings(), out=tmp_path / "run")
    history = read_history(tmp_path / "run")
    bad = [h for h in history if h["status"] == "discarded" and "the same as" not in h["reason"]]
    assert len(bad) >= (4 if every else 1)
    assert all("planted NaN" in h["reason"] for h in bad)
    assert all(h["proposal"] == "set" for h in bad) or every
    assert sum(h["selected"] for h in history) == (0 if every else 2)


def test_every_candidate_of_a_round_sees_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Applied twice, so that it is not recognized as the same candidate before it trains.
    still = {"rigl": {"fraction": 0.001, "updates": 2}}
    steer = {"proposals": ["keep", still], "attacks": ["loss"]}
    compress(make_model, make_splits(), config=settings(steer=steer), out=tmp_path / "run")
    history = read_history(tmp_path / "run")
    by_round = [[h for h in history if h["round"] == r] for r in (1, 2)]
    for first, second in by_round:
        assert first["measures"] == second["measures"], "nothing moved, so nothing may differ"


def test_resume_refuses_other_data_models_and_settings(
    run_folder: tuple[Path, list[Event]],
) -> None:
    folder = run_folder[0]
    with pytest.raises(RunFolderError, match="the data changed"):
        compress(make_model, make_splits(seed=9), resume=folder)
    with pytest.raises(RunFolderError, match="starting weights changed"):
        compress(lambda: nn.Linear(10, 3), make_splits(), resume=folder)
    with pytest.raises(RunFolderError, match="neither config nor out"):
        compress(make_model, make_splits(), resume=folder, config=settings())
    RunFolder.reopen(folder).release()


def test_resuming_a_finished_run_changes_nothing(run_folder: tuple[Path, list[Event]]) -> None:
    folder = run_folder[0]
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".safetensors"}
    # Nothing is left to go on from but a note that every stage has ended.
    kept = sorted((folder / "state").iterdir())
    assert [path.suffix for path in kept] == [".json", ".safetensors"]
    assert sum(path.stat().st_size for path in kept) < 4096
    run = compress(make_model, make_splits(), resume=folder)
    assert {n: (folder / n).read_bytes() for n in before} == before
    assert run.verdict.document.to_json()["looks"] == 1


def test_an_over_trained_model_fails_and_an_untrained_one_passes(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(3000, 20, generator=draw), torch.randint(0, 5, (3000,), generator=draw)
    splits = splits_from_arrays(x, y, seed=0, split={"members": 1000})
    checks = [{"measure": {"attack": {"attack": "loss"}}, "condition": {"at_most": 0.6}}]

    def wide() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 5))

    def verdict(epochs: float, lr: float, name: str) -> str:
        train = {"epochs": epochs, "lr": lr, "batch_size": 32, "precision": "32-true"}
        run = compress(
            wide,
            splits,
            config=settings(
                dense=train,
                sparse={"density": 0.9, "rounds": 0, "train": train},
                verdict={"checks": checks},
                baselines=[],
            ),
            out=tmp_path / name,
        )
        return str(run.verdict.status)

    assert verdict(60, 0.1, "learned by heart") == "FAIL"
    assert verdict(0.05, 1e-6, "hardly trained") == "PASS"


def test_configuration_alone_is_enough_or_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model: missing"):
        compress(None, make_splits(), config=settings(), out=tmp_path / "a")
    with pytest.raises(ConfigError, match="data: missing"):
        compress(make_model, config=settings(), out=tmp_path / "b")
    with pytest.raises(ConfigError, match="sparse: missing"):
        compress(make_model, make_splits(), out=tmp_path / "c")


def test_outputs_do_not_depend_on_who_asks(run_folder: tuple[Path, list[Event]]) -> None:
    splits = make_splits()
    module = load(run_folder[0], model=make_model)
    whole = predict(module, splits.members)
    part = predict(module, splits.members.take(torch.arange(7)))
    assert torch.allclose(whole.logits[:7], part.logits, atol=1e-5)
