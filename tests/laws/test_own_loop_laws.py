"""Laws of masks in a loop of one's own: whatever optimizer, a missing weight is zero everywhere."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import ConfigError, ModelError
from safecompress.protocols import Rows
from safecompress.topology import Topology
from safecompress.train import LiveMasks, Trainer

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(
        p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, foreach=True
    ),
    "fused-sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.1, amsgrad=True),
    "foreach-adam": lambda p: torch.optim.Adam(p, lr=0.05, foreach=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.5),
    "fused-adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.5, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.02),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.02),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.05),
}


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def drawn_masks(module: nn.Module, seed: int, density: float) -> Topology:
    generator = torch.Generator().manual_seed(seed)
    shapes = {n: p.shape for n, p in module.named_parameters() if p.ndim == 2}
    return Topology({n: torch.rand(s, generator=generator) < density for n, s in shapes.items()})


def missing(module: nn.Module, topology: Topology) -> Tensor:
    named = dict(module.named_parameters())
    return torch.cat([named[n].detach()[~mask] for n, mask in topology.masks.items()])


def state_of_missing(optimizer: torch.optim.Optimizer, module: nn.Module, t: Topology) -> Tensor:
    found = [torch.zeros(1)]
    for parameter, mask in t.bind(module):
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                found.append(value[~mask].flatten())
    return torch.cat(found)


@given(
    name=st.sampled_from(sorted(OPTIMIZERS)),
    seed=st.integers(0, 2**16),
    density=st.floats(0.1, 0.9),
    accumulate=st.integers(1, 3),
    clip=st.booleans(),
    to_none=st.booleans(),
    scaled=st.booleans(),
    late_group=st.booleans(),
)
@settings(max_examples=40)
def test_a_missing_weight_is_zero_in_model_gradient_state_and_average(
    name: str,
    seed: int,
    density: float,
    accumulate: int,
    clip: bool,
    to_none: bool,
    scaled: bool,
    late_group: bool,
) -> None:
    torch.manual_seed(seed)
    module = net()
    first = list(module[0].parameters()) if late_group else list(module.parameters())
    optimizer = OPTIMIZERS[name](first)
    topology = drawn_masks(module, seed, density)
    steps: list[int] = []
    masks = LiveMasks(module, optimizer, topology, after_step=lambda: steps.append(1))
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    masks.follow_(average)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    for step in range(4):
        if step == 1 and late_group:
            optimizer.add_param_group({"params": list(module[2].parameters())})
        if step == 2:
            # The masks change: what was grown begins at zero, what was dropped is gone.
            topology = drawn_masks(module, seed + 1, density)
            masks.set_(topology)
        optimizer.zero_grad(set_to_none=to_none)
        for _ in range(accumulate):
            loss = nn.functional.cross_entropy(module(torch.randn(6, 5)), torch.randint(3, (6,)))
            scaler.scale(loss / accumulate).backward()
        grads = dict(module.named_parameters())
        assert not any(grads[n].grad[~m].any() for n, m in topology.masks.items())
        scaler.unscale_(optimizer)
        if clip:
            torch.nn.utils.clip_grad_norm_(module.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        average.update_parameters(module)
        assert not missing(module, topology).any()
        assert not state_of_missing(optimizer, module, topology).any()
        assert not missing(average.module, topology).any()
    assert len(steps) == 4
    assert not masks.broken()
    masks.remove_()
    nn.functional.cross_entropy(module(torch.randn(6, 5)), torch.randint(3, (6,))).backward()
    assert missing_gradient(module, topology).any()


def missing_gradient(module: nn.Module, topology: Topology) -> Tensor:
    named = dict(module.named_parameters())
    return torch.cat([named[n].grad[~mask] for n, mask in topology.masks.items()])


@given(
    optimizer=st.sampled_from(["sgd", "adamw"]),
    seed=st.integers(0, 2**16),
    density=st.floats(0.2, 0.8),
)
@settings(max_examples=4)
def test_a_loop_of_ones_own_ends_where_the_engine_ends(
    optimizer: str, seed: int, density: float
) -> None:
    torch.manual_seed(seed)
    rows = Rows(torch.randn(24, 5), torch.randint(3, (24,)), torch.arange(24))
    config = TrainConfig(
        **{
            "epochs": 3,
            "batch_size": 8,
            "optimizer": optimizer,
            "lr": 0.05,
            "schedule": "constant",
        },
        **{"precision": "32-true", "weight_decay": 0.1},
    )
    module = net()
    topology = drawn_masks(module, seed, density)
    own = copy.deepcopy(module)
    trainer = Trainer(module, rows, config, seed=seed, engine=EngineConfig(accelerator="cpu"))
    expected: Candidate = trainer.train(trainer.start(topology), trainer.total_steps)
    options: dict[str, Any] = {"lr": 0.05, "weight_decay": 0.1, "fused": True}
    moved = list(own.parameters())
    loop_optimizer = (
        torch.optim.AdamW(moved, **options)
        if optimizer == "adamw"
        else torch.optim.SGD(moved, momentum=0.9, nesterov=True, **options)
    )
    masks = LiveMasks(own, loop_optimizer, topology, after_step=lambda: None)
    for step in range(trainer.total_steps):
        batch = trainer._stage.batch(step)
        loop_optimizer.zero_grad()
        nn.functional.cross_entropy(own(batch.inputs), batch.labels).backward()
        loop_optimizer.step()
    ended = masks.collected(Candidate({}, {}, topology, {}))
    for name, weight in expected.weights.items():
        torch.testing.assert_close(ended.weights[name], weight, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 2**16), parts=st.integers(1, 3))
@settings(max_examples=10)
def test_the_gathered_gradient_is_the_dense_one(seed: int, parts: int) -> None:
    torch.manual_seed(seed)
    module, free = net(), net()
    topology = drawn_masks(module, seed, 0.4)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    masks = LiveMasks(module, optimizer, topology, after_step=lambda: None)
    free.load_state_dict(module.state_dict())
    masks.gather_()
    for _ in range(parts):
        x, y = torch.randn(6, 5), torch.randint(3, (6,))
        for each in (module, free):
            nn.functional.cross_entropy(each(x), y).backward()
    optimizer.step()
    dense = masks.gradient()
    for name, parameter in free.named_parameters():
        if name in dense:
            torch.testing.assert_close(dense[name], parameter.grad)


def test_what_no_mask_fits_is_refused() -> None:
    module = net()
    topology = drawn_masks(module, 0, 0.5)
    with pytest.raises(ConfigError, match="LBFGS"):
        LiveMasks(module, torch.optim.LBFGS(module.parameters()), topology, after_step=lambda: None)
    table = nn.Sequential(nn.Embedding(5, 4, sparse=True))
    masks = Topology({"0.weight": torch.rand(5, 4) < 0.5})
    LiveMasks(table, torch.optim.SGD(table.parameters(), lr=1), masks, after_step=lambda: None)
    with pytest.raises(ModelError, match="sparse=False"):
        table(torch.tensor([1])).sum().backward()
