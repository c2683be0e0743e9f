"""`ParameterRule`, `parameter_rules`: by parameter, its weight decay and its learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from safecompress.config import TrainConfig
from safecompress.errors import ConfigError


@dataclass(frozen=True)
class ParameterRule:
    """How one parameter is moved.

    Args:
        weight_decay: strength of its pull towards 0.
        scale: factor of the stage's learning rate.
    """

    weight_decay: float
    scale: float = 1.0


def parameter_rules(config: TrainConfig, module: nn.Module) -> Mapping[str, ParameterRule]:
    """Return the rule of every parameter that is not moved like all others; empty without any.

    Args:
        config: its `decay`, `weight_decay` and `layer_decay` are read.
        module: the model.

    Raises:
        ConfigError: when `layer_decay` is below 1 and the model has no list of layers.

    Reference: Sun et al., How to fine-tune BERT for text classification, CCL 2019 (a learning rate
        that decreases from layer to layer).
    """
    if config.decay == "all" and config.layer_decay == 1.0:
        return {}
    scales = _scales(module, config.layer_decay)
    spared = _spared(module) if config.decay == "weights" else frozenset()
    return {
        name: ParameterRule(0.0 if name in spared else config.weight_decay, scales.get(name, 1.0))
        for name, _ in module.named_parameters()
    }


def _spared(module: nn.Module) -> frozenset[str]:
    """Return the names of biases and of the parameters of normalization."""
    norms = {
        id(p)
        for part in module.modules()
        if "Norm" in type(part).__name__
        for p in part.parameters(recurse=False)
    }
    return frozenset(n for n, p in module.named_parameters() if p.ndim < 2 or id(p) in norms)


def _scales(module: nn.Module, decay: float) -> dict[str, float]:
    """Return the factor of the learning rate of every parameter up to the last layer of the list.

    The last layer, and what follows it, has the full rate.
    """
    if decay == 1.0:
        return {}
    lists = {
        name: len(part)
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len({type(layer) for layer in part}) == 1
    }
    if not lists:
        raise ConfigError(
            "train.layer_decay: the model has no list of layers of one kind (torch.nn.ModuleList), "
            "as transformers have; leave it at 1."
        )
    longest = max(lists, key=lambda name: lists[name])
    inside, count = f"{longest}.", lists[longest]
    scales: dict[str, float] = {}
    names = [name for name, _ in module.named_parameters()]
    begin = next((i for i, name in enumerate(names) if name.startswith(inside)), 0)
    for place, name in enumerate(names):
        if name.startswith(inside):
            layer = int(name.removeprefix(inside).partition(".")[0])
            scales[name] = decay ** (count - 1 - layer)
        elif place < begin:
            scales[name] = decay**count
    return scales
