"""Existing weights as vectors, and memory kept while training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ModelError
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import Arithmetic, Trainer
from safecompress.train import memory as memory_module
from safecompress.train.active import ActiveWeights, active_weights, sparse_parts
from safecompress.train.memory import kept_memory

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def sparse(shape=(4, 3, 3, 2), memory_format=torch.contiguous_format):
    g = torch.Generator().manual_seed(0)
    whole = torch.randn(shape, generator=g)
    if len(shape) == 4:
        whole = whole.to(memory_format=memory_format)
    mask = torch.rand(shape, generator=g) < 0.3
    return nn.Parameter(whole), mask


@pytest.mark.parametrize("memory_format", list(FORMATS))
@pytest.mark.parametrize("shape", [(4, 3, 3, 2), (6, 5, 1, 1), (6, 1, 3, 3)])
def test_values_and_parameter_say_the_same_in_every_memory_format(shape, memory_format):
    parameter, mask = sparse(shape, FORMATS[memory_format])
    before = parameter.detach().clone()
    part = ActiveWeights.of(parameter, mask)
    part.read_()
    assert torch.equal(parameter.detach(), before.masked_fill(~mask, 0.0))
    assert not torch.signbit(parameter.detach()[~mask]).any()
    with torch.no_grad():
        part.values.mul_(2.0)
    part.write_()
    assert torch.equal(parameter.detach(), 2.0 * before.masked_fill(~mask, 0.0))
    assert torch.equal(part.expand(part.values.detach()), parameter.detach())


@pytest.mark.parametrize("memory_format", list(FORMATS))
@pytest.mark.parametrize("given", list(FORMATS))
def test_entries_are_found_by_place_and_not_by_layout(memory_format, given):
    parameter, mask = sparse(memory_format=FORMATS[memory_format])
    part = ActiveWeights.of(parameter, mask)
    other = torch.arange(72.0).view(4, 3, 3, 2).to(memory_format=FORMATS[given])
    assert torch.equal(part.expand(part.compact(other)), other.masked_fill(~mask, 0.0))


def test_missing_weights_that_are_not_finite_become_zero():
    parameter, mask = sparse()
    with torch.no_grad():
        parameter[~mask] = float("nan")
    ActiveWeights.of(parameter, mask).read_()
    assert not parameter.detach()[~mask].any()


def test_no_gradient_of_the_parameter_is_no_gradient_of_the_values():
    parameter, mask = sparse()
    part = ActiveWeights.of(parameter, mask)
    parameter.grad = torch.ones_like(parameter)
    part.read_gradient_()
    assert torch.equal(part.values.grad, torch.ones(int(mask.sum())))
    parameter.grad = None
    part.read_gradient_()
    assert part.values.grad is None


def test_only_parameters_with_missing_weights_become_vectors():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    masks = dict(Topology.dense(module).masks)
    masks["1.weight"] = torch.zeros(2, 4, dtype=torch.bool)
    active = active_weights(dict(module.named_parameters()), Topology(masks), module)
    assert [part.parameter for part in sparse_parts(active)] == [module[1].weight]
    assert active["0.weight"] is module[0].weight
    with pytest.raises(ModelError, match="another model"):
        active_weights({}, Topology({"2.weight": masks["1.weight"]}), module)


def test_a_module_left_in_another_memory_format_starts_the_same():
    g = torch.Generator().manual_seed(1)
    rows = Rows(
        torch.randn(16, 3, 6, 6, generator=g),
        torch.randint(2, (16,), generator=g),
        torch.arange(16),
    )
    found = []
    for left in FORMATS.values():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2))
        made = Trainer(
            module,
            rows,
            TrainConfig(epochs=2, batch_size=8),
            seed=0,
            engine=EngineConfig(accelerator="cpu"),
            settings=Arithmetic(memory_format="channels_last"),
        )
        module.to(memory_format=left)
        masks = Topology.dense(module).masks
        topology = Topology(
            {k: torch.arange(m.numel()).view(m.shape) % 3 == 0 for k, m in masks.items()}
        )
        found.append(made.train(made.start(topology), 2).weights)
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_memory_is_given_back_after_the_block_even_when_it_fails(monkeypatch):
    calls = []
    monkeypatch.setattr(memory_module, "_mallopt", lambda: lambda p, v: calls.append((p, v)))
    inside = {}

    def fail():
        with kept_memory():
            inside.update(calls)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    after = dict(calls)
    most_mapped, trim = -4, -1
    assert inside[most_mapped] == 0
    assert after[most_mapped] > 0
    assert after[trim] < inside[trim]


def test_without_glibc_nothing_is_set(monkeypatch):
    monkeypatch.setattr(memory_module.sys, "platform", "darwin")
    memory_module._mallopt.cache_clear()
    with kept_memory():
        assert memory_module._mallopt() is None
    monkeypatch.undo()
    memory_module._mallopt.cache_clear()
