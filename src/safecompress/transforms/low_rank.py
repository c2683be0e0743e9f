"""Low rank: one weight layer as two thinner ones."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError


def factorize(module: nn.Module, *, share: float) -> nn.Module:
    """Return a copy of a module whose linear and convolution layers are products of two.

    A layer W (outputs × fan-in) becomes its best approximation U V of rank r in the squared norm,
    by a truncated singular value decomposition: first V, a layer with r outputs and the shape of
    the kernel, then U, which is linear or 1×1. r is the largest rank at which the two have at most
    `share` of the layer's weights, at least 1. Layers that a rank of 1 would not make smaller stay
    as they are, and so do grouped convolutions. Biases go to U.

    Args:
        module: left as it is; in the copy a layer `name` becomes a `Sequential` with the
            layers `name.0` and `name.1`.
        share: share of a layer's weights that its factors may have, in (0, 1].

    Raises:
        ConfigError: on a share outside (0, 1].

    Reference: Denton et al., NeurIPS 2014; for convolutions Zhang et al., "Accelerating Very Deep
    Convolutional Networks", TPAMI 2016, section 3.1.
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"low rank: share is {share!r}; expected a number in (0, 1].")
    made = copy.deepcopy(module)
    replaced: dict[int, nn.Module] = {}
    for owner in list(made.modules()):
        for name, layer in list(owner.named_children()):
            if id(layer) not in replaced:
                replaced[id(layer)] = _factors(layer, share)
            setattr(owner, name, replaced[id(layer)])
    return _factors(made, share)


def _factors(layer: nn.Module, share: float) -> nn.Module:
    """Return the layer as two, or itself."""
    if type(layer) not in (nn.Linear, nn.Conv2d) or getattr(layer, "groups", 1) != 1:
        return layer
    own = dict(layer.named_parameters(recurse=False))
    weight, bias = own["weight"].detach(), own.get("bias")
    outputs, fan_in = len(weight), math.prod(weight.shape[1:])
    rank = max(1, int(share * weight.numel()) // (outputs + fan_in))
    if rank * (outputs + fan_in) >= weight.numel():
        return layer
    first, second = _thin(layer, rank, biased=bias is not None)
    u, v = _truncated(weight.flatten(1), rank)
    pair = nn.Sequential(first, second).to(device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        values = {"0.weight": v, "1.weight": u} | ({} if bias is None else {"1.bias": bias})
        for name, parameter in pair.named_parameters():
            parameter.copy_(values[name].view_as(parameter))
    return pair.train(layer.training)


def _thin(layer: nn.Module, rank: int, *, biased: bool) -> tuple[nn.Module, nn.Module]:
    """Return two layers that meet at `rank` channels, their weights not set yet."""
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, rank, bias=False)
        return first, nn.Linear(rank, layer.out_features, bias=biased)
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"{type(layer).__name__} is neither linear nor a convolution")
    kernel = nn.Conv2d(
        layer.in_channels,
        rank,
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        padding_mode=layer.padding_mode,
        bias=False,
    )
    return kernel, nn.Conv2d(rank, layer.out_channels, 1, bias=biased)


def _truncated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return U (m, rank) and V (rank, n), the singular values' roots in both."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    roots = s[:rank].sqrt()
    return (u[:, :rank] * roots).to(matrix.dtype), (roots.unsqueeze(1) * v[:rank]).to(matrix.dtype)
