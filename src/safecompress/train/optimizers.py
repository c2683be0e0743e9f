"""Optimizers whose state lives in candidates, as tensors under the parameters' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.config import TrainConfig
from safecompress.train.active import Active, ActiveWeights

FUSED_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})
STEP = "step"


def make_optimizer(
    config: TrainConfig, parameters: Mapping[str, nn.Parameter]
) -> torch.optim.Optimizer:
    """Return the configured optimizer.

    Args:
        config: optimizer, momentum and weight decay; the rate is set anew at every step.
        parameters: trained parameters, all on one device.
    """
    devices = {p.device.type for p in parameters.values()}
    fused = devices <= FUSED_DEVICES
    options: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters.values(), lr=config.lr, weight_decay=config.weight_decay, **options
        )
    return torch.optim.SGD(
        parameters.values(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        **options,
    )


def state_keys(config: TrainConfig) -> tuple[str, ...]:
    """Return the names of the state tensors that have their parameter's shape."""
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

    What the candidate lacks starts at zero; state of weights that do not exist is left out. A zero
    momentum buffer and none at all lead to the same first step, since there is no dampening.
    """
    moved = [part.values if isinstance(part, ActiveWeights) else part for part in active.values()]
    optimizer.param_groups[0]["params"] = moved
    optimizer.state.clear()
    fused = bool(optimizer.defaults.get("fused"))
    for (name, part), parameter in zip(active.items(), moved, strict=True):
        stored = state.get(name, {})
        own = optimizer.state[parameter]
        if config.optimizer == "adamw":
            device = parameter.device if fused else torch.device("cpu")
            count = stored.get(STEP, torch.zeros(()))
            own[STEP] = count.to(device=device, dtype=torch.float32, copy=True)
        for key in state_keys(config):
            own[key] = torch.zeros_like(parameter, requires_grad=False)
            if key in stored:
                given = stored[key]
                own[key].copy_(part.compact(given) if isinstance(part, ActiveWeights) else given)


def optimizer_state(
    optimizer: torch.optim.Optimizer, config: TrainConfig, active: Active
) -> dict[str, dict[str, Tensor]]:
    """Return copies of the optimizer's state, on the CPU, per parameter name.

    Tensors have their parameter's shape, and zeros where a weight does not exist.
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
