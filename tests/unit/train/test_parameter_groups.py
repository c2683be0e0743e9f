"""Weight decay and learning rates by parameter are those of groups in torch's own optimizer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ConfigError
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import Trainer
from safecompress.train.parameter_groups import parameter_rules
from safecompress.train.schedule import learning_rate

LENGTH, WORDS, LAYERS = 6, 20, 3


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x + self.mix(x).relu())


class Stacked(nn.Module):
    """An embedding, a list of layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, 8)
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.table(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(dim=1))


def rows(n: int = 40) -> Rows:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, WORDS, (n, LENGTH), generator=draw)
    return Rows(x, (x[:, 0] % 2).long(), torch.arange(n))


def settings(**changes) -> TrainConfig:
    given = {"epochs": 2, "batch_size": 10, "optimizer": "adamw", "lr": 0.01, "schedule": "linear"}
    return TrainConfig(**given | {"precision": "32-true", "weight_decay": 0.1} | changes)


def trained(config: TrainConfig, *, density: float = 1.0) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module = Stacked()
    trainer = Trainer(module, rows(), config, seed=0, engine=EngineConfig())
    topology = Topology.dense(module)
    if density < 1.0:
        torch.manual_seed(1)
        masks = {n: torch.rand(m.shape) < density for n, m in topology.masks.items()}
        topology = Topology(masks)
    return dict(trainer.train(trainer.start(topology), trainer.total_steps).weights)


def by_hand(config: TrainConfig) -> dict[str, torch.Tensor]:
    """Return the weights that torch's own optimizer ends with, on the trainer's batches."""
    torch.manual_seed(0)
    module = Stacked()
    groups = []
    for name, p in module.named_parameters():
        bare = name.endswith("bias") or "norm" in name
        depth = {"table": 0, "head": LAYERS}.get(name.partition(".")[0])
        depth = int(name.split(".")[1]) + 1 if depth is None else depth
        decay = 0.0 if config.decay == "weights" and bare else config.weight_decay
        scale = config.layer_decay ** (LAYERS - depth)
        groups.append({"params": [p], "weight_decay": decay, "scale": scale})
    optimizer = torch.optim.AdamW(groups, lr=1.0, fused=True)
    batches = Trainer(Stacked(), rows(), config, seed=0, engine=EngineConfig())._stage.batches
    for step in range(batches.total_steps):
        rate = learning_rate(config, step, total=batches.total_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        batch = batches.at(step, memory_format=torch.contiguous_format)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(batch.inputs), batch.labels).backward()
        optimizer.step()
    return module.state_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decay": "weights"},
        {"layer_decay": 0.5},
        {"decay": "weights", "layer_decay": 0.8},
        {"decay": "weights", "layer_decay": 0.8, "warmup": 0.3},
    ],
)
def test_it_ends_where_torch_ends_with_these_groups(changes):
    config = settings(**changes)
    right = by_hand(config)
    for name, tensor in trained(config).items():
        assert torch.allclose(tensor, right[name], rtol=1e-5, atol=1e-7), name
    other = trained(settings())
    if "decay" in changes or "layer_decay" in changes:
        assert any(not torch.allclose(other[n], t, rtol=1e-3) for n, t in right.items())


def test_a_sparse_model_keeps_its_masks_and_resumes_in_the_same_bits():
    config = settings(decay="weights", layer_decay=0.5)
    once = trained(config, density=0.5)
    torch.manual_seed(0)
    module = Stacked()
    trainer = Trainer(module, rows(), config, seed=0, engine=EngineConfig())
    torch.manual_seed(1)
    masks = {n: torch.rand(m.shape) < 0.5 for n, m in Topology.dense(module).masks.items()}
    candidate = trainer.start(Topology(masks))
    for _ in range(trainer.total_steps):
        candidate = trainer.train(candidate, 1)
    for name, tensor in once.items():
        assert torch.equal(tensor, candidate.weights[name]), name
    for name, mask in masks.items():
        assert not once[name].masked_fill(mask, 0.0).any(), name


def test_such_candidates_are_trained_alone():
    torch.manual_seed(0)
    for changes, together in (({}, False), ({"decay": "weights"}, True)):
        trainer = Trainer(Stacked(), rows(), settings(**changes), seed=0, engine=EngineConfig())
        assert (trainer.joint is None) == together


def test_a_layer_decay_needs_a_list_of_layers():
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(ConfigError, match="no list of layers"):
        parameter_rules(settings(layer_decay=0.9), plain)
    assert parameter_rules(settings(), plain) == {}


def test_a_linear_schedule_falls_to_zero_after_its_warm_up():
    config = TrainConfig(lr=1.0, schedule="linear", warmup=0.2)
    rates = [learning_rate(config, step, total=10) for step in range(11)]
    assert rates == pytest.approx(
        [1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0]
    )
