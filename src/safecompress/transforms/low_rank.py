"""`factorize`: replaces each weight layer by a product of two thinner layers of low rank."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError


def factorize(module: nn.Module, *, share: float) -> nn.Module:
    """Return a copy of a module in which two thin layers replace each linear and convolution layer.

    A layer W (outputs × fan-in) becomes U V, its best approximation of rank r in the squared norm,
    by a truncated singular value decomposition. V comes first: a layer with r outputs and W's
    kernel. U follows: a linear layer or a 1×1 convolution, which gets the bias. r is the largest
    rank, at least 1, at which both together have at most `share` of the layer's weights. Grouped
    convolutions, and layers that rank r would not make smaller, stay as they are.

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
    smaller = copy.deepcopy(module)
    replaced: dict[int, nn.Module] = {}
    for owner in list(smaller.modules()):
        for name, layer in list(owner.named_children()):
            if id(layer) not in replaced:
                replaced[id(layer)] = _factors(layer, share)
            setattr(owner, name, replaced[id(layer)])
    return _factors(smaller, share)


def _factors(layer: nn.Module, share: float) -> nn.Module:
    """Return the two layers that replace a layer, or the layer itself."""
    if type(layer) not in (nn.Linear, nn.Conv2d) or getattr(layer, "groups", 1) != 1:
        return layer
    parameters = dict(layer.named_parameters(recurse=False))
    weight, bias = parameters["weight"].detach(), parameters.get("bias")
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
    """Return two layers with `rank` channels between them; their weights are not set yet."""
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
    """Return U (m, rank) and V (rank, n), each scaled by the roots of the singular values."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    roots = s[:rank].sqrt()
    return (u[:, :rank] * roots).to(matrix.dtype), (roots.unsqueeze(1) * v[:rank]).to(matrix.dtype)
