"""Optimizers, whose state is loaded from candidates and returned to them as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.config import TrainConfig
from safecompress.train.active import Active, ActiveWeights
from safecompress.train.parameter_groups import ParameterRule

FUSED_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})
"""Devices for which torch has optimizers that take a step in one kernel."""
STEP = "step"
"""Name under which AdamW keeps its count of steps, a float32 scalar."""


_NAMES, _SCALE = "names", "scale"
"""Entries of a group of parameters: their names, and the factor of their learning rate."""


def make_optimizer(
    config: TrainConfig,
    parameters: Mapping[str, nn.Parameter],
    rules: Mapping[str, ParameterRule] = MappingProxyType({}),
) -> torch.optim.Optimizer:
    """Return the configured optimizer.

    Args:
        config: optimizer, momentum and weight decay; `set_rate_` sets the rate at every step.
        parameters: trained parameters by name, all on one device.
        rules: those that are not moved like all others, by name.
    """
    named: dict[ParameterRule, list[str]] = {}
    for name in parameters:
        named.setdefault(rules.get(name, ParameterRule(config.weight_decay)), []).append(name)
    groups = [
        {
            "params": [parameters[name] for name in names],
            "weight_decay": rule.weight_decay,
            _SCALE: rule.scale,
            _NAMES: tuple(names),
        }
        for rule, names in named.items()
    ]
    devices = {p.device.type for p in parameters.values()}
    # The one-kernel optimizers know real numbers only.
    fused = devices <= FUSED_DEVICES and all(p.is_floating_point() for p in parameters.values())
    options: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, **options)
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, **options
    )


def set_rate_(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step.

    Args:
        optimizer: as `make_optimizer` returned it.
        rate: the stage's learning rate.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_SCALE]


def state_keys(config: TrainConfig) -> tuple[str, ...]:
    """Return the names of the state tensors that have their parameter's shape.

    Args:
        config: optimizer and momentum.
    """
    if config.optimizer == "adamw":
        return ("exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if config.momentum else ()


def load_optimizer_state_(
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    active: Active,
    state: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Let the optimizer move `active`, with copies of a candidate's state.

    State that the candidate lacks starts at zero. A momentum buffer of zeros leads to the same
    first step as none, because there is no dampening.

    Args:
        optimizer: as `make_optimizer` returned it.
        config: which optimizer it is.
        active: what it moves, per parameter name.
        state: per parameter name its state tensors, of the parameter's shape or scalars; entries of
            weights that do not exist are not used.
    """
    moved = [part.values if isinstance(part, ActiveWeights) else part for part in active.values()]
    by_name = dict(zip(active, moved, strict=True))
    for group in optimizer.param_groups:
        group["params"] = [by_name[name] for name in group[_NAMES]]
    optimizer.state.clear()
    fused = bool(optimizer.defaults.get("fused"))
    for (name, part), parameter in zip(active.items(), moved, strict=True):
        stored = state.get(name, {})
        loaded = optimizer.state[parameter]
        if config.optimizer == "adamw":
            device = parameter.device if fused else torch.device("cpu")
            count = stored.get(STEP, torch.zeros(()))
            loaded[STEP] = count.to(device=device, dtype=torch.float32, copy=True)
        for key in state_keys(config):
            loaded[key] = torch.zeros_like(parameter, requires_grad=False)
            if key in stored:
                given = stored[key]
                loaded[key].copy_(part.compact(given) if isinstance(part, ActiveWeights) else given)


def optimizer_state(
    optimizer: torch.optim.Optimizer, config: TrainConfig, active: Active
) -> dict[str, dict[str, Tensor]]:
    """Return copies of the optimizer's state, on the CPU, per parameter name.

    Args:
        optimizer: as `load_optimizer_state_` left it, or after steps.
        config: which optimizer it is.
        active: what it moves, per parameter name.

    Returns:
        Per parameter name its state tensors: scalars, and tensors of the parameter's shape that are
        zero where a weight does not exist.
    """
    keys = state_keys(config)
    return {
        name: {
            key: _whole(part, value, expand=key in keys)
            for key, value in optimizer.state[
                part.values if isinstance(part, ActiveWeights) else part
            ].items()
            if isinstance(value, Tensor)
        }
        for name, part in active.items()
    }


def _whole(part: nn.Parameter | ActiveWeights, value: Tensor, *, expand: bool) -> Tensor:
    if expand and isinstance(part, ActiveWeights):
        value = part.expand(value)
    return value.detach().to("cpu", copy=True).contiguous()
