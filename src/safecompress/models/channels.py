"""`channel_groups`: which channels of a model can only be removed together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError
from safecompress.models.adapt import adapt, call
from safecompress.protocols import Inputs, Rows, map_inputs
from safecompress.transforms import (
    PLAIN,
    REDUCIBLE,
    ChannelGroup,
    Channels,
    attach_,
    remove_channels,
)

_TOLERANCE = 1e-4
"""Difference of logits, relative to the largest, that rounding explains."""


def require_channel_groups() -> None:
    """Raise ConfigError unless the library that finds groups is installed."""
    if find_spec("torch_pruning") is None:
        raise ConfigError(
            "channels: torch-pruning finds out which channels belong together, and is not "
            "installed; pip install 'safecompress[channels]'."
        )


def few_inputs(module: nn.Module, rows: Rows) -> Inputs:
    """Return the inputs of four rows on the module's device, for `channel_groups`.

    Args:
        module: any model.
        rows: at least one row; fewer than four are repeated.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    index = torch.arange(4) % max(1, len(rows))
    return map_inputs(lambda t: t.to(device), rows.batch(index))


def channel_groups(module: nn.Module, inputs: Inputs) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels that can be removed from a model, in torch-pruning's order.

    The channels of the logits stay, and so do groups with a layer that cannot be made smaller, a
    frozen parameter or a weight that several layers share. A trial checks that the model computes
    the same without half of the channels as with these channels masked.

    Args:
        module: any model; hooks that round its inputs are removed, all else is as before
            afterwards.
        inputs: inputs of two rows or more, with which the library traces the model.

    Raises:
        ConfigError: when torch-pruning is not installed.
        ModelError: when the model cannot be traced, has no such group, or fails the trial.

    Reference: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    require_channel_groups()
    flags = [(m, m.training) for m in module.modules()]
    trained = [(p, p.requires_grad) for p in module.parameters()]
    buffers = [(b, b.clone()) for b in module.buffers()]
    attach_(module, PLAIN)
    try:
        groups = _traced(
            module.eval(), inputs, frozen={id(p) for p, required in trained if not required}
        )
    finally:
        for submodule, flag in flags:
            submodule.training = flag
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for parameter, required in trained:
            parameter.requires_grad_(required)
    if not groups:
        raise ModelError(
            f"{type(module).__name__}: no channels can be removed; it needs linear or convolution "
            "layers between its inputs and its last layer."
        )
    _try(module, inputs, groups)
    return groups


def _traced(module: nn.Module, inputs: Inputs, *, frozen: set[int]) -> tuple[ChannelGroup, ...]:
    import torch_pruning

    graph = torch_pruning.DependencyGraph()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            # `call` passes inputs of any structure; the library alone would not.
            graph.build_dependency(
                module,
                example_inputs=inputs,
                forward_fn=call,
                output_transform=adapt,
            )
            raw = list(graph.get_all_groups(root_module_types=[nn.Linear, nn.Conv1d, nn.Conv2d]))
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__}: torch-pruning cannot tell which channels belong together: "
            f"{type(error).__name__}: {str(error)[:200]}"
        ) from error
    names = _names(module)
    groups = (_group(list(group), names, frozen) for group in raw)
    return tuple(group for group in groups if group is not None)


def _names(module: nn.Module) -> dict[int, str]:
    """Return the name of each layer by its id.

    Layers that share a parameter or have several names, as those called in two places do, are left
    out.
    """
    owners: dict[int, int] = {}
    named: dict[int, list[str]] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        named.setdefault(id(layer), []).append(name)
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    alone = {
        id(layer)
        for layer in module.modules()
        if all(owners[id(p)] == 1 for p in layer.parameters(recurse=False))
    }
    return {key: given[0] for key, given in named.items() if len(given) == 1 and key in alone}


def _group(items: Sequence[Any], names: Mapping[int, str], frozen: set[int]) -> ChannelGroup | None:
    """Return torch-pruning's group as a ChannelGroup, or None where its channels must stay."""
    rows: dict[str, Tensor] = {}
    columns: dict[str, Tensor] = {}
    size = len(items[0].idxs)
    for item in items:
        layer, reads = item.dep.layer, item.dep.handler.__name__ == "prune_in_channels"
        parameters = dict(layer.named_parameters(recurse=False))
        if not parameters and not isinstance(layer, REDUCIBLE):
            continue
        name = names.get(id(layer))
        if name is None or not isinstance(layer, REDUCIBLE):
            return None
        if getattr(layer, "groups", 1) > 1 or any(id(p) in frozen for p in parameters.values()):
            return None
        channel = torch.full((_width(layer, reads=reads),), -1, dtype=torch.int64)
        channel[torch.as_tensor(list(item.idxs))] = torch.as_tensor(list(item.root_idxs))
        if bool((channel < 0).any()):
            return None
        prefix = f"{name}." if name else ""
        into, of = (columns, ["weight"]) if reads else (rows, list(parameters))
        into.update({prefix + parameter: channel for parameter in of})
    # A group without a reader is the output layer, whose channels are the logits; it must stay.
    return ChannelGroup(size, rows, columns) if rows and columns else None


def _width(layer: nn.Module, *, reads: bool) -> int:
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return layer.num_features
    return dict(layer.named_parameters())["weight"].shape[1 if reads else 0]


def _try(module: nn.Module, inputs: Inputs, groups: Sequence[ChannelGroup]) -> None:
    """Raise ModelError unless the model computes the same without half of its (masked) channels."""
    stays = {i: (g, torch.arange(g.size) % 2 == 0) for i, g in enumerate(groups)}
    half = Channels().without(stays)
    masked = remove_channels(module, Channels()).eval()
    with torch.no_grad():
        for name, parameter in masked.named_parameters():
            allowed = half.open(name, parameter.shape)
            if allowed is not None:
                parameter.masked_fill_(~allowed.to(parameter.device), 0.0)
        try:
            before, after = call(masked, inputs), call(remove_channels(masked, half), inputs)
            equal = before.shape == after.shape and torch.allclose(
                before, after, rtol=_TOLERANCE, atol=_TOLERANCE * float(before.abs().max())
            )
        except (RuntimeError, ValueError, ModelError) as error:
            raise ModelError(
                f"{type(module).__name__}: without half of its channels the model fails: "
                f"{str(error)[:200]} List steer.proposals without channels."
            ) from error
    if not equal:
        raise ModelError(
            f"{type(module).__name__}: a channel without any weight is not the same to it as one "
            "that is not there, as with a softmax over channels. List steer.proposals without "
            "channels."
        )
