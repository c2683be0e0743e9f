"""Optimisers whose state lives in candidates, as tensors under the parameters' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.config import TrainConfig

FUSED_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})
STEP = "step"


def make_optimizer(
    config: TrainConfig, parameters: Mapping[str, nn.Parameter], *, scaled: bool
) -> torch.optim.Optimizer:
    """Return the configured optimiser.

    Args:
        config: optimiser, momentum and weight decay; the rate is set anew at every step.
        parameters: trained parameters, all on one device.
        scaled: whether gradients will be scaled (fp16); a fused optimiser would unscale them only
            inside its step, after masks and moving averages have read them.
    """
    devices = {p.device.type for p in parameters.values()}
    fused = not scaled and devices <= FUSED_DEVICES
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
    parameters: Mapping[str, nn.Parameter],
    state: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Give the optimiser copies of a candidate's state; what the candidate lacks starts at zero.

    A zero momentum buffer and none at all lead to the same first step, since there is no dampening.
    """
    optimizer.state.clear()
    fused = bool(optimizer.defaults.get("fused"))
    for name, parameter in parameters.items():
        stored = state.get(name, {})
        own = optimizer.state[parameter]
        if config.optimizer == "adamw":
            device = parameter.device if fused else torch.device("cpu")
            count = stored.get(STEP, torch.zeros(()))
            own[STEP] = count.to(device=device, dtype=torch.float32, copy=True)
        for key in state_keys(config):
            own[key] = torch.zeros_like(parameter)
            if key in stored:
                own[key].copy_(stored[key])


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, dict[str, Tensor]]:
    """Return copies of the optimiser's state, on the CPU, per parameter name."""
    return {
        name: {
            key: value.detach().to("cpu", copy=True).contiguous()
            for key, value in optimizer.state[parameter].items()
            if isinstance(value, Tensor)
        }
        for name, parameter in parameters.items()
    }
