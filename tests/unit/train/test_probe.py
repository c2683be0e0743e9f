"""Precision and memory format by timing, which `fastest` asks for."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from safecompress import compress, splits_from_arrays
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ConfigError, DataError
from safecompress.models import MODELS
from safecompress.protocols import Rows
from safecompress.sparse import initialize
from safecompress.train import Arithmetic, Trainer
from safecompress.train import fit as fit_module
from safecompress.train import probe as probe_module
from safecompress.train import rule as rule_module
from safecompress.train.batches import Batches
from safecompress.train.probe import choose_arithmetic
from safecompress.train.sparse_layers import SparseLayer

CPU = torch.device("cpu")


def images(n=32):
    g = torch.Generator().manual_seed(0)
    return Rows(
        torch.randn(n, 3, 8, 8, generator=g), torch.randint(4, (n,), generator=g), torch.arange(n)
    )


def net(name="vgg-small", width=0.25):
    return MODELS.parts[name].factory(input_shape=(3, 8, 8), classes=4, width=width)


FASTEST = {"precision": "fastest", "memory_format": "fastest"}


@pytest.fixture(autouse=True)
def _an_old_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule's own choice is then fp32, whatever machine the tests run on."""
    monkeypatch.setattr(rule_module, "multiplies_bf16", lambda device: False)
    monkeypatch.setattr(rule_module, "LEAST_ACTIVATIONS", float("inf"))


def choose(module, rows, total_steps=10**6, topology=None, **options):
    config = TrainConfig(batch_size=8, **(FASTEST | options))
    batches = Batches(rows, config, seed=0, stage="s", device=CPU)
    return choose_arithmetic(
        module, batches, config, device=CPU, total_steps=total_steps, topology=topology
    )


def test_timing_leaves_no_trace():
    module, rows = net(), images()
    module.eval()
    module.classifier[1].weight.grad = torch.ones_like(module.classifier[1].weight)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    identities = [id(p) for p in module.parameters()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = choose(module, rows)
    assert len(found.rates) == 4
    assert all(rate > 0 for rate in found.rates.values())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(v.stride() == before[k].stride() for k, v in module.state_dict().items())
    assert identities == [id(p) for p in module.parameters()]
    assert torch.equal(state, torch.get_rng_state())
    assert not module.training
    assert module.features[0].weight.grad is None
    assert torch.equal(module.classifier[1].weight.grad, torch.ones(4, 32))


def test_under_a_mask_fp32_is_timed_as_it_would_be_trained(monkeypatch):
    module, rows = net(width=1.0), images()
    mask = initialize(module, density=0.02, distribution="erk", method="scratch", seed=0)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    products: dict[torch.dtype, int] = {}
    computed = SparseLayer.__call__

    def counted(layer, x):
        products[x.dtype] = products.get(x.dtype, 0) + 1
        return computed(layer, x)

    monkeypatch.setattr(SparseLayer, "__call__", counted)
    found = choose(module, rows, topology=mask)
    assert len(found.rates) == 4
    assert set(products) == {torch.float32}
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(p.grad is not None for p in module.parameters())
    products.clear()
    choose(module, rows)
    assert not products


@pytest.mark.parametrize(
    ("options", "expected"), [({}, True), ({"track_moving_average": True}, False)]
)
def test_the_trainer_chooses_for_what_it_will_compute(monkeypatch, options, expected):
    asked = []

    def choose(*args, topology, **kwargs):
        asked.append(topology)
        return Arithmetic()

    monkeypatch.setattr(fit_module, "choose_arithmetic", choose)
    module = net()
    mask = initialize(module, density=0.1, distribution="erk", method="scratch", seed=0)
    config, engine = TrainConfig(epochs=1, batch_size=8), EngineConfig(accelerator="cpu")
    Trainer(module, images(), config, seed=0, engine=engine, typical=mask, **options)
    assert asked == [mask if expected else None]


@pytest.mark.parametrize(
    ("defenses", "expected"), [([], True), ([{"early-stopping": {"looks": 2}}], False)]
)
def test_a_stage_is_chosen_for_as_its_search_will_train(monkeypatch, tmp_path, defenses, expected):
    """Also by the baseline's trainer, which comes first and has no defenses of its own."""
    asked = []

    def choose(*args, topology, **kwargs):
        asked.append(topology)
        return Arithmetic()

    monkeypatch.setattr(fit_module, "choose_arithmetic", choose)
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 6, generator=draw), torch.randint(3, (400,), generator=draw)
    config = {
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "dense": {"epochs": 1},
        "sparse": {"density": 0.5, "rounds": 1, "train": {"epochs": 1}},
        "steer": {"proposals": ["rigl"], "defenses": defenses, "attacks": ["loss"]},
    }
    compress(data=splits_from_arrays(x.numpy(), y.numpy(), seed=0), config=config, out=tmp_path)
    assert any(topology is not None for topology in asked) == expected


def test_training_does_not_depend_on_having_timed():
    config = TrainConfig(epochs=1000, batch_size=8, **FASTEST)
    results = []
    for settings in (None, Arithmetic()):
        torch.manual_seed(0)
        made = Trainer(
            net(),
            images(),
            config,
            seed=0,
            engine=EngineConfig(accelerator="cpu"),
            settings=settings,
        )
        if settings is None:
            probed = made.settings
            assert len(probed.rates) == 4
            made = Trainer(
                made._module,
                images(),
                config,
                seed=0,
                engine=EngineConfig(accelerator="cpu"),
                settings=Arithmetic(),
            )
        results.append(made.train(made.start(), 2).weights)
    assert all(torch.equal(v, results[1][k]) for k, v in results[0].items())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0, 0.95, 0.92, 0.92], ("32-true", "contiguous")),
        ([1.0, 0.80, 0.92, 0.85, *[0.8, 1.0] * 3], ("32-true", "channels_last")),
        ([1.0, 0.80, 0.92, 0.40, *[0.4, 1.0] * 3], ("bf16-mixed", "channels_last")),
        ([1.0, 2.0, 0.5, 3.0, *[0.5, 1.0] * 3], ("bf16-mixed", "contiguous")),
        # The machine was busy while plain fp32 was timed first, or while it was timed again.
        ([1.0, 0.80, 0.92, 0.85, 0.8, 0.7], ("32-true", "contiguous")),
        ([1.0, 0.80, 0.92, 0.85, *[0.8, 1.0] * 2, 0.8, 0.85], ("32-true", "contiguous")),
    ],
)
def test_only_a_clear_gain_changes_the_settings(monkeypatch, seconds, expected):
    times = iter(seconds)
    monkeypatch.setattr(probe_module, "_step_seconds", lambda *a, **k: next(times))
    found = choose(net(), images())
    assert (found.precision, found.memory_format) == expected
    assert found.rates["32-true/contiguous"] == pytest.approx(8.0)


def refuse(*args, **kwargs):
    raise AssertionError("probed")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"total_steps": 399}, ("32-true", "contiguous")),
        ({"precision": "auto", "memory_format": "auto"}, ("32-true", "contiguous")),
        (
            {"precision": "bf16-mixed", "memory_format": "channels_last"},
            ("bf16-mixed", "channels_last"),
        ),
    ],
)
def test_nothing_is_timed_without_need(monkeypatch, options, expected):
    monkeypatch.setattr(probe_module, "_step_seconds", refuse)
    found = choose(net(), images(), **options)
    assert (found.precision, found.memory_format) == expected
    assert not found.rates


def test_half_fixed_settings_keep_what_is_fixed():
    for fixed in ("32-true", "auto"):
        assert set(choose(net(), images(), precision=fixed).rates) == {
            "32-true/contiguous",
            "32-true/channels_last",
        }
    assert set(choose(net(), images(), memory_format="auto").rates) == {
        "32-true/contiguous",
        "bf16-mixed/contiguous",
    }
    table = Rows(torch.randn(32, 6), torch.zeros(32, dtype=torch.int64), torch.arange(32))
    assert set(choose(nn.Linear(6, 2), table).rates) == {
        "32-true/contiguous",
        "bf16-mixed/contiguous",
    }


def test_layers_that_channels_last_can_crash_on_a_cpu_never_meet_it():
    assert "32-true/channels_last" in choose(net("resnet8", width=1.0), images()).rates
    assert set(choose(net("resnet8"), images()).rates) == {
        "32-true/contiguous",
        "bf16-mixed/contiguous",
    }
    with pytest.raises(ConfigError, match=r"blocks\.1\.shortcut\.0"):
        choose(net("resnet8"), images(), memory_format="channels_last")


def test_settings_come_back_from_json():
    settings = Arithmetic("bf16-mixed", "channels_last", {"32-true/contiguous": 10.0})
    assert Arithmetic.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"precision": "32-true", "memory_format": "rows", "rates": {}},
        3,
        {"rates": 1},
        {"precision": "8", "memory_format": "contiguous", "rates": {}},
    ],
)
def test_foreign_settings_are_refused(value):
    with pytest.raises(DataError, match="training settings"):
        Arithmetic.from_json(value)
