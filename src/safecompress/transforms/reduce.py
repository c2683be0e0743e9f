"""`remove_channels`: a module with smaller layers that computes the same function."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from safecompress.errors import ModelError
from safecompress.topology import Topology
from safecompress.transforms.channels import Channels

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
REDUCIBLE = (nn.Linear, nn.Conv1d, nn.Conv2d, *_NORMS)
"""Layers whose channels can be removed."""


def remove_channels(module: nn.Module, channels: Channels) -> nn.Module:
    """Return a copy of a module whose layers are smaller by the removed channels.

    In evaluation mode the copy computes the same as the module. Names of parameters stay the same.

    Args:
        module: a module in which removed channels are masked: zero weights, zero bias, γ = β = 0.
        channels: which channels are left.

    Raises:
        ModelError: when a parameter belongs to a layer that cannot be made smaller.
    """
    smaller = copy.deepcopy(module)
    layers = {
        f"{name}.{parameter}" if name else parameter: layer
        for name, layer in smaller.named_modules()
        for parameter, _ in layer.named_parameters(recurse=False)
    }
    touched: dict[int, tuple[nn.Module, Tensor | None, Tensor | None]] = {}
    for name in {*channels.rows, *channels.columns}:
        layer = layers.get(name)
        if not isinstance(layer, REDUCIBLE):
            found = "no such parameter" if layer is None else f"in a {type(layer).__name__}"
            raise ModelError(f"channels of '{name}' cannot be removed: {found}.")
        _, rows, columns = touched.get(id(layer), (layer, None, None))
        rows = channels.rows.get(name) if rows is None else rows
        columns = channels.columns.get(name) if columns is None else columns
        touched[id(layer)] = (layer, rows, columns)
    for layer, rows, columns in touched.values():
        if isinstance(layer, nn.Linear):
            _reduce_linear_(layer, rows, columns)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d):
            _reduce_convolution_(layer, rows, columns)
        elif isinstance(layer, _NORMS) and rows is not None:
            _reduce_norm_(layer, rows)
    return smaller


def remove_from_topology(topology: Topology, channels: Channels) -> Topology:
    """Return the masks of the smaller module.

    Args:
        topology: masks of the whole module.
        channels: which channels are left.
    """
    return Topology(
        {
            name: _cut(mask, channels.rows.get(name), channels.columns.get(name))
            for name, mask in topology.masks.items()
        }
    )


def _cut(tensor: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    if rows is not None:
        tensor = tensor[rows.to(tensor.device)]
    if columns is not None:
        tensor = tensor[:, columns.to(tensor.device)]
    return tensor.clone()


def _parameter(old: Tensor, rows: Tensor | None, columns: Tensor | None) -> nn.Parameter:
    return nn.Parameter(_cut(old.detach(), rows, columns), requires_grad=old.requires_grad)


def _reduce_linear_(layer: nn.Linear, rows: Tensor | None, columns: Tensor | None) -> None:
    layer.weight = _parameter(layer.weight, rows, columns)
    if layer.bias is not None:
        layer.bias = _parameter(layer.bias, rows, None)
    layer.out_features, layer.in_features = layer.weight.shape


def _reduce_convolution_(
    layer: nn.Conv1d | nn.Conv2d, rows: Tensor | None, columns: Tensor | None
) -> None:
    depthwise = layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels
    if layer.groups > 1 and not depthwise:
        raise ModelError(
            f"a convolution of {layer.groups} groups cannot lose channels; leave its group out."
        )
    layer.weight = _parameter(layer.weight, rows, None if depthwise else columns)
    if layer.bias is not None:
        layer.bias = _parameter(layer.bias, rows, None)
    layer.out_channels = len(layer.weight)
    layer.in_channels = layer.out_channels if depthwise else layer.weight.shape[1]
    layer.groups = layer.out_channels if depthwise else 1


def _reduce_norm_(layer: nn.BatchNorm1d | nn.BatchNorm2d, rows: Tensor) -> None:
    if layer.affine:
        layer.weight = _parameter(layer.weight, rows, None)
        layer.bias = _parameter(layer.bias, rows, None)
    for name in ("running_mean", "running_var"):
        buffer = getattr(layer, name)
        if isinstance(buffer, torch.Tensor):
            setattr(layer, name, _cut(buffer, rows, None))
    layer.num_features = int(rows.sum())
