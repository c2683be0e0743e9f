"""Losses and augmentations of a user's own, named in a configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import compress, load
from safecompress.compression.prepare import prepare
from safecompress.config import EngineConfig, TrainConfig, load_config
from safecompress.errors import ConfigError, RunFolderError
from safecompress.files import read_json
from safecompress.protocols import Rows
from safecompress.train import Trainer
from safecompress.train.own_code import require_soft_targets

SOURCE = """
import torch
from torch.nn import functional

calls = []


def smooth(logits, targets):
    calls.append((tuple(logits.shape), targets.dtype))
    return functional.cross_entropy(logits, targets, label_smoothing=0.2)


def plain(logits, targets):
    return functional.cross_entropy(logits, targets)


def hard_only(logits, targets):
    return -logits.log_softmax(1).gather(1, targets.unsqueeze(1)).mean()


def by_row(logits, targets):
    return functional.cross_entropy(logits, targets, reduction="none")


def apart(logits, targets):
    return torch.zeros(())


def broken(*given):
    raise ValueError("no such luck")


def shift(inputs, generator):
    return inputs + torch.randn(inputs.shape, generator=generator)


def same(inputs, generator):
    return inputs


def shorter(inputs, generator):
    return inputs[:, 1:]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_losses.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_losses", raising=False)
    yield tmp_path
    sys.modules.pop("own_losses", None)


def trained(**stage: Any) -> Any:
    torch.manual_seed(0)
    rows = Rows(torch.randn(40, 6), torch.randint(3, (40,)), torch.arange(40))
    base = {"epochs": 3, "batch_size": 10, "lr": 0.05, "precision": "32-true"}
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    engine = EngineConfig(accelerator="cpu")
    return Trainer(net, rows, TrainConfig(**base | stage), seed=0, engine=engine)


def weights(trainer: Any, start: Any = None) -> dict[str, torch.Tensor]:
    start = trainer.start() if start is None else start
    return dict(trainer.train(start, trainer.total_steps).weights)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_and_the_augmentation_are_those_named(own: Path) -> None:
    usual = weights(trained())
    assert equal(weights(trained(loss="own_losses:plain", augment="own_losses:same")), usual)
    smooth = weights(trained(loss="own_losses:smooth"))
    assert not equal(smooth, usual)
    assert set(sys.modules["own_losses"].calls) == {((10, 3), torch.int64)}
    shifted = weights(trained(augment="own_losses:shift"))
    assert not equal(shifted, usual)
    assert equal(weights(trained(augment="own_losses:shift")), shifted)


def test_a_stack_of_candidates_has_the_same_loss(own: Path) -> None:
    trainer = trained(loss="own_losses:smooth")
    start = trainer.start()
    alone = trainer.train(start, 4)
    for other in trainer.train_together([start, start], 4):
        for name, weight in alone.weights.items():
            torch.testing.assert_close(other.weights[name], weight, rtol=1e-4, atol=1e-5)


def iris(**stage: Any) -> dict[str, Any]:
    train = {"epochs": 1, "precision": "32-true"} | stage
    return {
        "data": {"source": {"source": "sklearn", "name": "iris"}},
        "model": {"name": "mlp", "options": {"hidden": [8]}},
        "dense": train,
        "sparse": {"density": 0.5, "rounds": 1, "train": train},
        "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
    }


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"loss": "own_losses:by_row"}, "expected a scalar"),
        ({"loss": "own_losses:apart"}, "without a gradient"),
        ({"loss": "own_losses:broken"}, "raised ValueError: no such luck"),
        ({"loss": "own_losses:smoth"}, "smooth"),
        ({"augment": "own_losses:shorter"}, "expected inputs like"),
        ({"augment": "own_losses:broken"}, "raised ValueError: no such luck"),
        ({"augment": "no_such_module:f"}, "no_such_module"),
    ],
)
def test_the_dry_run_says_what_is_wrong(own: Path, stage: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(load_config(iris(**stage)))


def test_a_loss_of_taught_models_takes_probabilities(own: Path) -> None:
    require_soft_targets("own_losses:smooth", 3)
    with pytest.raises(ConfigError, match="class probabilities"):
        require_soft_targets("own_losses:hard_only", 3)


def test_a_run_records_the_code_and_does_not_run_it_unasked(own: Path) -> None:
    run = compress(config=iris(loss="own_losses:plain", augment="own_losses:same"), out="run")
    code = read_json(run.folder / "provenance.json")["training_code"]
    assert set(code) == {"own_losses:plain", "own_losses:same"}
    assert all(len(digest) == 64 for digest in code.values())
    del sys.modules["own_losses"]
    load(run.folder)
    with pytest.raises(RunFolderError, match="trust"):
        compress(resume=run.folder)
    assert "own_losses" not in sys.modules
