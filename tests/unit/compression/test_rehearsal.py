"""What a model cannot do is found before any training, with the layer and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop

from safecompress.compression.rehearsal import rehearse
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ModelError
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import stack
from tests.zoo_modules import CLASSES, FEATURES, Do, Forgetful, Through

N = 64
ENGINE = EngineConfig(accelerator="cpu", devices=1)


def _rows() -> Rows:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, FEATURES, generator=draw)
    return Rows(x, x[:, :CLASSES].argmax(dim=1), torch.arange(N))


def _rehearsed(module: nn.Module, **train: Any) -> Any:
    settings = {"batch_size": 16, "precision": "32-true"} | train
    return rehearse(
        module,
        _rows(),
        TrainConfig.model_validate(settings),
        topology=Topology.dense(module),
        seed=0,
        engine=ENGINE,
    )


def _written_to(self: Do, x: Tensor) -> Tensor:
    y = self.a(x).exp()
    z = y.relu()
    y += 1
    return z * y


def _remembering(self: Do, x: Tensor) -> Tensor:
    if self.training:
        self.seen = float(x.detach().mean()) + 1
    return x + getattr(self, "seen", 0.0)


@pytest.mark.parametrize(
    ("module", "train", "message"),
    [
        (
            lambda: Through(nn.BatchNorm1d(16)),
            {"batch_size": 1},
            r"failed in layer 'between' \(BatchNorm1d\) while one training step on 1 rows.*"
            r"raise train\.batch_size",
        ),
        (
            lambda: Through(Do(_written_to, a=nn.Linear(16, 16))),
            {},
            r"while one training step on 16 rows.*write into a new tensor",
        ),
        (
            lambda: Through(Do(lambda s, x: x + drop(x, 0.5))),
            {},
            r"random in evaluation mode from between \(Do\) on.*training=self\.training",
        ),
        (
            lambda: Through(Forgetful()),
            {},
            r"buffer 'between\.seen', which is not stored.*persistent=True",
        ),
        (
            lambda: Through(Do(_remembering)),
            {},
            r"after it was stored and loaded.*an attribute.*register_buffer",
        ),
        (
            lambda: Through(nn.Linear(15, 16)),
            {},
            r"failed in layer 'between' \(Linear\) while one training step",
        ),
    ],
    ids=["batch of one", "in place", "random", "not stored", "an attribute", "shapes"],
)
def test_a_fault_names_its_layer_and_its_remedy(module, train, message):
    with pytest.raises(ModelError, match=message):
        _rehearsed(module(), **train)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_module_and_the_generators_are_as_before(optimizer):
    module = Through(nn.BatchNorm1d(16))
    before = {n: t.clone() for n, t in module.state_dict().items()}
    state = torch.get_rng_state()
    found = _rehearsed(module, optimizer=optimizer)
    assert found.stacks
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[n], t) for n, t in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())
    assert module.training


def test_a_stack_that_computes_something_else_is_not_used(monkeypatch):
    assert _rehearsed(Through(nn.ReLU())).stacks
    honest = stack.Stack._losses
    monkeypatch.setattr(stack.Stack, "_losses", lambda self, batch: -honest(self, batch))
    found = _rehearsed(Through(nn.ReLU()))
    assert not found.stacks
    assert "one by one" in found.remarks[0]
