"""Precision and memory format by rule, from the hardware and the shapes alone."""

from __future__ import annotations

import random
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from safecompress import compress, splits_from_arrays
from safecompress.config import TrainConfig
from safecompress.models import MODELS
from safecompress.protocols import Rows
from safecompress.sparse import initialize
from safecompress.train import Arithmetic, probe, rule
from safecompress.train.batches import Batches
from safecompress.train.probe import choose_arithmetic
from safecompress.train.rule import measured

CPU = torch.device("cpu")


def rows(*shape: int, n: int = 16) -> Rows:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, *shape, generator=draw)
    return Rows(inputs, torch.arange(n) % 3, torch.arange(n))


def batches(data: Rows, batch: int) -> Batches:
    return Batches(data, TrainConfig(batch_size=batch), seed=0, stage="s", device=CPU)


def chosen(module: nn.Module, data: Rows, *, batch: int = 16, topology=None, **options):
    config = TrainConfig(batch_size=batch, **options)
    return choose_arithmetic(
        module,
        Batches(data, config, seed=0, stage="s", device=CPU),
        config,
        device=CPU,
        total_steps=10**6,
        topology=topology,
    )


def mlp(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
    )


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "multiplies_bf16", lambda device: True)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(3, 9),
    st.sampled_from([(1, 1, 0), (3, 1, 1), (3, 2, 1), (3, 2, 0)]),
    st.sampled_from([nn.Conv2d, nn.ConvTranspose2d]),
    st.integers(1, 16),
)
def test_products_are_those_that_torch_counts(width, channels, side, shape, kind, batch):
    kernel, stride, padding = shape
    module = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        kind(4, 6, kernel, stride=stride, padding=padding, groups=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, width),
        nn.Linear(width, 3),
    )
    data = rows(channels, side, side)
    found = measured(module, batches(data, batch), None)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(data.inputs[:batch])
    assert 2 * found.products == counter.get_total_flops()
    assert found.sparse == 0


def test_choosing_leaves_no_trace():
    module = MODELS.parts["vgg-small"].factory(input_shape=(3, 8, 8), classes=3, width=0.5)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    mask = initialize(module, density=0.1, distribution="erk", method="scratch", seed=0)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    chosen(module, rows(3, 8, 8), topology=mask)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(v.stride() == before[k].stride() for k, v in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert module.training
    assert not any(m._forward_hooks or "forward" in m.__dict__ for m in module.modules())


def test_the_rule_asks_no_clock(monkeypatch):
    draw = random.Random(0)
    now = [0.0]

    def lie() -> float:
        now[0] += draw.expovariate(1.0)
        return now[0]

    module, data = mlp(20, 64), rows(20)
    honest = chosen(module, data)
    for name in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(time, name, lie)
    assert {chosen(module, data) for _ in range(5)} == {honest}
    # What is timed does follow such a clock.
    monkeypatch.setattr(probe, "DUELS", 1)
    asked = {chosen(module, data, precision="fastest").precision for _ in range(40)}
    assert asked == {"32-true", "bf16-mixed"}


@pytest.mark.usefixtures("able")
def test_bf16_is_for_large_steps(monkeypatch):
    module, data = mlp(20, 64), rows(20, n=64)
    small, large = (measured(module, batches(data, b), None).products for b in (8, 64))
    assert large == 8 * small
    monkeypatch.setitem(rule.LEAST_WORK, "cpu", large)
    assert chosen(module, data, batch=64).precision == "bf16-mixed"
    assert chosen(module, data, batch=63).precision == "32-true"
    monkeypatch.setattr(rule, "multiplies_bf16", lambda device: False)
    assert chosen(module, data, batch=64).precision == "32-true"


@pytest.mark.usefixtures("able")
@pytest.mark.parametrize(("density", "expected"), [(0.02, "32-true"), (0.5, "bf16-mixed")])
def test_what_is_computed_sparsely_is_computed_in_fp32(monkeypatch, density, expected):
    monkeypatch.setitem(rule.LEAST_WORK, "cpu", 1.0)
    module, data = mlp(300, 400), rows(300)
    mask = initialize(module, density=density, distribution="uniform", method="scratch", seed=0)
    assert chosen(module, data, topology=mask).precision == expected
    assert chosen(module, data).precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("name", "batch", "expected"),
    [
        # Many activations for few weights, and the other way round.
        ("vgg-small", 16, "channels_last"),
        ("alexnet", 2, "contiguous"),
        # Strided 1×1 convolutions of fewer than 16 channels, which channels_last can crash.
        ("resnet8", 16, "contiguous"),
    ],
)
def test_channels_last_is_for_more_activations_than_weights(name, batch, expected):
    options = {"width": 0.25} if name == "resnet8" else {}
    module = MODELS.parts[name].factory(input_shape=(3, 32, 32), classes=3, **options)
    assert chosen(module, rows(3, 32, 32), batch=batch).memory_format == expected


def test_what_is_configured_is_kept():
    module = MODELS.parts["vgg-small"].factory(input_shape=(3, 32, 32), classes=3, width=0.25)
    for precision in ("32-true", "bf16-mixed"):
        for memory_format in ("contiguous", "channels_last"):
            wanted = {"precision": precision, "memory_format": memory_format}
            assert chosen(module, rows(3, 32, 32), **wanted) == Arithmetic(**wanted)


@pytest.mark.usefixtures("able")
@pytest.mark.parametrize("section", ["dense", "steer"])
def test_a_defense_that_needs_fp32_gets_it(monkeypatch, tmp_path, section):
    monkeypatch.setitem(rule.LEAST_WORK, "cpu", 1.0)
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 6, generator=draw), torch.randint(3, (400,), generator=draw)
    brief = {"epochs": 1, "lr": 0.05, "batch_size": 40}
    private = {"defenses": [{"dp-sgd": {"noise": 1.0}}]}
    config = {
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "dense": brief | (private if section == "dense" else {}),
        "sparse": {"density": 0.5, "rounds": 1, "train": brief},
        "steer": {"proposals": ["rigl"]} | (private if section == "steer" else {}),
    }
    run = compress(
        data=splits_from_arrays(x.numpy(), y.numpy(), seed=0), config=config, out=tmp_path
    )
    assert run.verdict.document is not None
