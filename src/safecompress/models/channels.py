"""Which channels of a model belong together."""

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


def require_channel_groups() -> None:
    """Raise ConfigError unless the library that finds groups is installed."""
    if find_spec("torch_pruning") is None:
        raise ConfigError(
            "channels: torch-pruning finds out which channels belong together, and is not "
            "installed; pip install 'safecompress[channels]'."
        )


def few_inputs(module: nn.Module, rows: Rows) -> Inputs:
    """Return a few rows' inputs where the module is; enough to see how it is put together."""
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    index = torch.arange(4) % max(1, len(rows))
    return map_inputs(lambda t: t[index].to(device), rows.inputs)


def channel_groups(module: nn.Module, inputs: Inputs) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels that can leave a model, in the order the library finds them.

    The channels of the logits stay, and so do groups with a layer that cannot be made smaller, a
    frozen parameter or a weight that has other users. Whether a model without some of the channels
    still computes what it does with them masked is tried once.

    Args:
        module: any model; left as it was.
        inputs: a batch of two rows or more, to see what is connected with what.

    Raises:
        ConfigError: when torch-pruning is not installed.
        ModelError: when the model cannot be looked through, or has no such group.

    Reference: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    require_channel_groups()
    flags = [(m, m.training) for m in module.modules()]
    wanted = [(p, p.requires_grad) for p in module.parameters()]
    buffers = [(b, b.clone()) for b in module.buffers()]
    attach_(module, PLAIN)
    try:
        groups = _found(module.eval(), inputs, frozen={id(p) for p, asked in wanted if not asked})
    finally:
        for submodule, flag in flags:
            submodule.training = flag
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for parameter, asked in wanted:
            parameter.requires_grad_(asked)
    if not groups:
        raise ModelError(
            f"{type(module).__name__}: no channels can be removed; it needs linear or convolution "
            "layers between its inputs and its last layer."
        )
    _try(module, inputs, groups)
    return groups


def _found(module: nn.Module, inputs: Inputs, *, frozen: set[int]) -> tuple[ChannelGroup, ...]:
    import torch_pruning

    graph = torch_pruning.DependencyGraph()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            # Inputs are handed over as they are called here, whatever their structure.
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
    made = (_group(list(group), names, frozen) for group in raw)
    return tuple(group for group in made if group is not None)


def _names(module: nn.Module) -> dict[int, str]:
    """Return per layer its only name; layers with several, or with shared parameters, have none."""
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
    return {key: found[0] for key, found in named.items() if len(found) == 1 and key in alone}


def _group(items: Sequence[Any], names: Mapping[int, str], frozen: set[int]) -> ChannelGroup | None:
    """Return a group in our terms, or None where its channels have to stay."""
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
        into.update({prefix + own: channel for own in of})
    # What nobody reads are the logits.
    return ChannelGroup(size, rows, columns) if rows and columns else None


def _width(layer: nn.Module, *, reads: bool) -> int:
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return layer.num_features
    return dict(layer.named_parameters())["weight"].shape[1 if reads else 0]


def _try(module: nn.Module, inputs: Inputs, groups: Sequence[ChannelGroup]) -> None:
    """Raise ModelError unless half of the channels can go without changing what is computed."""
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
