"""Laws of stacked training: each candidate is trained as it would be alone, but for rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from safecompress import packed
from safecompress.candidate import Candidate, SoftTarget
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import NonFiniteError
from safecompress.protocols import Rows
from safecompress.run.folder import read_history
from safecompress.topology import Topology
from safecompress.train import Trainer
from safecompress.train.stack import LARGEST_STEP, obstacle
from tests.small_runs import Stopped, begin, brisk, go_on, result, stopping_at

STEPS = 9


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def made(module: nn.Module, **changes: Any) -> Trainer:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=draw)
    settings = {"epochs": 10, "lr": 0.05, "batch_size": 20, "precision": "32-true"} | changes
    return Trainer(
        module,
        Rows(x, x[:, :3].argmax(1), torch.arange(60)),
        TrainConfig(**settings),
        seed=1,
        engine=EngineConfig(),
        soft_labels=torch.softmax(torch.randn(60, 3, generator=draw), 1),
    )


def siblings(
    trainer: Trainer, module: nn.Module, *, densities: tuple[float, ...]
) -> list[Candidate]:
    """Return candidates with masks, targets and optimizer states of their own."""
    draw = torch.Generator().manual_seed(2)
    found = []
    for number, density in enumerate(densities):
        masks = {
            name: torch.rand(p.shape, generator=draw) < density
            for name, p in module.named_parameters()
            if p.ndim > 1
        }
        start = trainer.start(Topology(masks)).evolve(
            soft_target=SoftTarget(0.5 * (number % 3), 1.0 + number)
        )
        found.append(trainer.train(start, 4))
    return found


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("make", [perceptron, convolutional, Tied])
def test_each_candidate_is_trained_as_it_would_be_alone(make: Any, optimizer: str) -> None:
    torch.manual_seed(0)
    module = make()
    trainer = made(module, optimizer=optimizer, lr=0.05 if optimizer == "sgd" else 0.003)
    parents = siblings(trainer, module, densities=(0.3, 0.7, 1.0))
    alone = [trainer.train(parent, STEPS) for parent in parents]
    assert trainer.trains_together(parents)
    together = trainer.train_together(parents, STEPS)
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, Candidate)
        assert one.step == other.step
        assert one.lineage == other.lineage
        assert one.weights.keys() == other.weights.keys()
        for name, weight in one.weights.items():
            torch.testing.assert_close(other.weights[name], weight, rtol=1e-4, atol=1e-6)
        assert one.optimizer.keys() == other.optimizer.keys()
        for name, state in one.optimizer.items():
            assert state.keys() == other.optimizer[name].keys()
            for key, value in state.items():
                torch.testing.assert_close(other.optimizer[name][key], value, rtol=1e-4, atol=1e-6)
    name = next(iter(parents[0].topology.masks))
    assert not torch.equal(*(c.weights[name] for c in together[:2] if isinstance(c, Candidate)))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_does_not_exist_stays_zero_and_has_no_state(optimizer: str) -> None:
    module = perceptron()
    trainer = made(module, optimizer=optimizer, lr=0.01, weight_decay=0.1)
    parents = siblings(trainer, module, densities=(0.2, 0.5))
    for candidate in trainer.train_together(parents, STEPS):
        assert isinstance(candidate, Candidate)
        for name, mask in candidate.topology.masks.items():
            assert int(candidate.weights[name][~mask].count_nonzero()) == 0
            for key in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
                if key in candidate.optimizer[name]:
                    assert int(candidate.optimizer[name][key][~mask].count_nonzero()) == 0


def test_the_parents_are_left_as_they_were() -> None:
    module = perceptron()
    trainer = made(module)
    parents = siblings(trainer, module, densities=(0.3, 0.7))
    before = [{name: t.clone() for name, t in p.tensors().items()} for p in parents]
    trainer.train_together(parents, STEPS)
    for parent, kept in zip(parents, before, strict=True):
        assert all(torch.equal(t, kept[name]) for name, t in parent.tensors().items())


def test_one_that_becomes_nan_is_an_error_and_leaves_its_siblings_alone() -> None:
    module = perceptron()
    trainer = made(module)
    good, bad = siblings(trainer, module, densities=(0.5, 0.5))
    name = next(iter(bad.weights))
    broken = bad.evolve(weights={**bad.weights, name: bad.weights[name] * 1e30})
    found = trainer.train_together([good, broken], STEPS)
    assert isinstance(found[1], NonFiniteError)
    assert isinstance(found[0], Candidate)
    alone = trainer.train(good, STEPS)
    for key, weight in alone.weights.items():
        torch.testing.assert_close(found[0].weights[key], weight, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_stacked_is_not() -> None:
    module = perceptron()
    trainer = made(module)
    first, second = siblings(trainer, module, densities=(0.5, 0.5))
    assert obstacle(module, [first]) == "there is one"
    assert "steps" in obstacle(module, [first, trainer.train(second, 1)])
    assert "buffers" in obstacle(nn.Sequential(module, nn.BatchNorm1d(3)), [first, second])
    assert "drops out" in obstacle(nn.Sequential(module, nn.Dropout(0.1)), [first, second])
    assert obstacle(nn.Sequential(module, nn.Dropout(0.0)), [first, second]) == ""


def test_a_large_step_is_taken_one_by_one() -> None:
    wide = nn.Sequential(nn.Linear(6, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.Linear(1024, 3))
    trainer = made(wide)
    assert 20 * sum(p.numel() for p in wide.parameters()) > LARGEST_STEP[True]
    dense = trainer.start()
    assert not trainer.trains_together([dense, dense])


def test_a_search_stacks_its_candidates_and_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    train = Trainer.train_together

    def counted(self: Trainer, candidates: Any, steps: int) -> Any:
        counts.append(len(candidates))
        return train(self, candidates, steps)

    monkeypatch.setattr(Trainer, "train_together", counted)
    changes = {
        "steer": {"search": "tournament", "proposals": ["rigl", "set", "keep"], "attacks": ["loss"]}
    }
    with brisk():
        alone = begin(tmp_path / "alone", **changes)
        assert max(counts) == 3
        with pytest.raises(Stopped):
            begin(tmp_path / "stopped", stopping_at("progress", 4), **changes)
        resumed = go_on(tmp_path / "stopped")
    assert result(alone.folder) == result(resumed.folder)
    monkeypatch.setattr(Trainer, "trains_together", lambda *_: False)
    with brisk():
        apart = begin(tmp_path / "apart", **changes)
    for one, other in zip(read_history(alone.folder), read_history(apart.folder), strict=True):
        assert one["candidate"] == other["candidate"]
        assert one["accuracy"] == pytest.approx(other["accuracy"], abs=0.02)
    assert json.loads((apart.folder / "verdict.json").read_text())["verdict"]


@pytest.mark.parametrize("kind", [perceptron, convolutional, Tied])
def test_packed_candidates_are_trained_to_the_same_bits(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LEAST", 1)
    module = kind()
    trainer = made(module)
    plain = siblings(trainer, module, densities=(0.2, 0.3, 0.5))
    held = [candidate.packed() for candidate in plain]
    for first, second in (
        (trainer.train_together(plain, STEPS), trainer.train_together(held, STEPS)),
        ([trainer.train(c, STEPS) for c in plain], [trainer.train(c, STEPS) for c in held]),
    ):
        for one, other in zip(first, second, strict=True):
            assert isinstance(one, Candidate)
            assert isinstance(other, Candidate)
            tensors, theirs = one.tensors(), other.tensors()
            assert list(tensors) == list(theirs)
            assert all(torch.equal(tensors[name], theirs[name]) for name in tensors)
