"""Whole runs with ADMM, with defenses of the dense model, and with DP-SGD."""

from __future__ import annotations

from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress import Splits, compress, splits_from_arrays
from safecompress.compression.prepare import prepare
from safecompress.config import load_config
from safecompress.defenses import epsilon
from safecompress.errors import ConfigError
from safecompress.run.model_file import read_model
from tests.small_runs import SETTINGS, Stopped, brisk, make_model, result, stopping_at

TRAIN = SETTINGS["sparse"]["train"]
ADMM: dict[str, Any] = {
    "dense": TRAIN,
    "sparse": {
        "density": 0.3,
        "initialize": "admm-global",
        "admm": {"rounds": 4, "rho": 0.1, "growth": 2.0, "train": TRAIN},
        "rounds": 1,
        "train": TRAIN,
    },
    "steer": {"proposals": ["rigl"], "attacks": ["loss"], "defenses": ["adversarial"]},
}
PRIVATE: dict[str, Any] = {
    "dense": TRAIN | {"defenses": [{"dp-sgd": {"noise": 2.0}}]},
    "sparse": {"density": 0.5, "rounds": 0, "train": TRAIN},
    "steer": {"defenses": [{"dp-sgd": {"noise": 1.0}}], "attacks": ["loss"]},
    "baselines": [],
}


@pytest.fixture(autouse=True)
def _brisk():
    with brisk():
        yield


@cache
def splits() -> Splits:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=draw)
    return splits_from_arrays(x, x[:, :3].argmax(dim=1), seed=0, split={"reference": 0.2})


GRADUAL = ADMM | {
    "sparse": ADMM["sparse"] | {"initialize": "gradual-layer", "gradual": {"cuts": 4}}
}
TOWARDS = {"admm": ADMM, "gradual": GRADUAL}
"""Runs that train the dense weights towards their mask."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with brisk():
        # Each beside a ledger of its own: looks at the same sealed rows are counted.
        for name, changes in TOWARDS.items():
            run(folder / name / "run", changes)
    return folder


def run(folder: Path, changes: dict[str, Any], **more: Any):
    return compress(make_model, splits(), config=SETTINGS | changes, out=folder, **more)


@pytest.mark.parametrize(
    ("kind", "number"), [("progress", 3), ("progress", 5), ("progress", 8), ("candidate", 1)]
)
@pytest.mark.parametrize("method", TOWARDS)
def test_trained_towards_its_mask_and_resumed_it_ends_in_the_same_bits(
    method, kind, number, whole, tmp_path
) -> None:
    with pytest.raises(Stopped):
        run(tmp_path / "cut", TOWARDS[method], on_event=stopping_at(kind, number))
    compress(make_model, splits(), resume=tmp_path / "cut")
    assert result(tmp_path / "cut") == result(whole / method / "run")


def test_admm_keeps_the_budget_and_tells_its_residuals(tmp_path) -> None:
    told = []
    made = run(tmp_path / "run", ADMM, on_event=told.append)
    (residuals,) = [e.data["residuals"] for e in told if "residuals" in e.data]
    assert len(residuals) == 4
    topology = read_model(tmp_path / "run" / "model.safetensors").topology
    assert topology.nonzeros == round(0.3 * topology.total)
    assert {row["name"] for row in made.verdict.document.to_json()["comparison"]} == {
        "dense",
        "magnitude",
        "compressed",
    }


def test_defenses_of_the_dense_model_change_it_alone(tmp_path) -> None:
    plain, held = (
        {"dense": TRAIN | more, "sparse": {"density": 0.5, "rounds": 0, "train": TRAIN}}
        for more in ({}, {"defenses": [{"label-smoothing": {"share": 0.5}}]})
    )
    run(tmp_path / "plain", plain)
    run(tmp_path / "held", held)
    one, other = (read_model(tmp_path / n / "dense.safetensors") for n in ("plain", "held"))
    assert any(not torch.equal(one.weights[k], v) for k, v in other.weights.items())


def test_distillation_asks_the_run_s_dense_model(tmp_path) -> None:
    taught = {
        "dense": TRAIN,
        "sparse": {"density": 0.5, "rounds": 0, "train": TRAIN},
        "steer": {"defenses": [{"distillation": {"rows": "reference"}}], "attacks": ["loss"]},
    }
    run(tmp_path / "whole", taught)
    with pytest.raises(Stopped):
        run(tmp_path / "cut", taught, on_event=stopping_at("progress", 5))
    compress(make_model, splits(), resume=tmp_path / "cut")
    assert result(tmp_path / "cut") == result(tmp_path / "whole")


def test_the_verdict_has_the_accountant_s_epsilon(tmp_path) -> None:
    pytest.importorskip("opacus")
    document = run(tmp_path / "run", PRIVATE).verdict.document.to_json()
    n = len(splits().members)
    steps = 2 * (n // 50)
    expected = epsilon([(2.0, 50 / n, steps), (1.0, 50 / n, steps)], delta=1e-5)
    assert document["differential_privacy"]["epsilon"] == pytest.approx(expected)
    assert f"ε = {expected:.3g}" in document["limits"][0]
    assert document["limits"][0] in unescape((tmp_path / "run" / "report.html").read_text())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dense": TRAIN}, "list dp-sgd in dense.defenses"),
        ({"steer": {"attacks": ["loss"]}}, "list dp-sgd in steer.defenses"),
        ({"dense": TRAIN | {"defenses": [{"dp-sgd": {"noise": 0.0}}]}}, "no noise was added"),
        (
            {
                "sparse": PRIVATE["sparse"] | {"rounds": 1},
                "steer": PRIVATE["steer"] | {"proposals": ["set"]},
            },
            "look at members; set sparse.rounds: 0",
        ),
    ],
)
def test_where_something_else_saw_members_nothing_is_promised(changes, reason, tmp_path) -> None:
    document = run(tmp_path / "run", PRIVATE | changes).verdict.document.to_json()
    assert document["differential_privacy"]["epsilon"] is None
    assert reason in document["limits"][0]


def test_without_dp_sgd_the_verdict_is_silent_about_it(tmp_path) -> None:
    plain = {"sparse": PRIVATE["sparse"], "baselines": []}
    assert "differential_privacy" not in run(tmp_path / "run", plain).verdict.document.to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dense": TRAIN | {"defenses": ["pbb"]}}, r"dense\.defenses\[0\].*did you mean 'ppb'"),
        ({"steer": {"defenses": ["ppb", "ppb"]}}, "'ppb' is listed twice"),
        ({"steer": {"defenses": ["ppb", "dp-sgd"]}}, "leave out ppb"),
        ({"steer": {"defenses": ["dp-sgd"]}, "sparse": ADMM["sparse"]}, "leave out admm"),
        ({"steer": {"defenses": ["pbb"]}}, r"steer\.defenses\[0\].*did you mean 'ppb'"),
        (
            {"dense": TRAIN | {"epochs": 0}, "sparse": ADMM["sparse"]},
            "looks at a trained dense model",
        ),
    ],
)
def test_mistakes_are_found_before_training(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare(load_config(SETTINGS | changes), make_model, splits())


FIRST = {"density": 0.3, "rounds": 0, "train": TRAIN | {"epochs": 0}}


@pytest.mark.parametrize("method", ["snip", "lottery"])
def test_untrained_weights_begin_under_the_mask(method, tmp_path) -> None:
    run(tmp_path / "run", {"dense": TRAIN, "sparse": FIRST | {"initialize": method}})
    made = read_model(tmp_path / "run" / "model.safetensors")
    masks = made.topology.masks
    assert made.topology.nonzeros == round(0.3 * made.topology.total)
    prepared = prepare(load_config(SETTINGS), make_model, splits())
    for name, mask in masks.items():
        expected = prepared.initial[name] * mask
        if method == "snip":
            # Scaled to the length they had together; a ticket's weights are what they were.
            whole, left = (w.norm(dim=1, keepdim=True) for w in (prepared.initial[name], expected))
            expected = expected * (whole / left).nan_to_num(posinf=0.0)
        assert torch.allclose(made.weights[name], expected)
    if method == "lottery":
        dense = read_model(tmp_path / "run" / "dense.safetensors")
        kept = torch.cat([dense.weights[n][m].abs() for n, m in masks.items()])
        left = torch.cat([dense.weights[n][~m].abs() for n, m in masks.items()])
        assert kept.min() >= left.max()


def test_snip_keeps_what_the_loss_depends_on_most(tmp_path) -> None:
    """By hand: the mean gradient of the first batches at the untrained weights, times these."""
    sparse = FIRST | {"initialize": "snip", "gradient_batches": len(splits().members) // 50}
    run(tmp_path / "run", {"dense": TRAIN, "sparse": sparse | {"train": TRAIN}})
    masks = read_model(tmp_path / "run" / "model.safetensors").topology.masks
    module = prepare(load_config(SETTINGS), make_model, splits()).module
    rows = splits().members
    torch.nn.functional.cross_entropy(module(rows.inputs), rows.labels).backward()
    scores = {n: (p * p.grad).abs().detach() for n, p in module.named_parameters() if n in masks}
    kept = sum(float(scores[n][m].sum()) for n, m in masks.items())
    best = torch.cat([s.flatten() for s in scores.values()]).sort(descending=True).values
    assert kept > 0.95 * float(best[: sum(int(m.sum()) for m in masks.values())].sum())
