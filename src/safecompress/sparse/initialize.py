"""`initialize` and `scale_to_mask_`: the first masks of a sparse network, and its first weights.

Masks are chosen by magnitude or at random; untrained weights are scaled so that signals keep their
variance although most weights are missing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, ModelError, NonFiniteError, did_you_mean
from safecompress.randomness import generator
from safecompress.sparse.distributions import kept_weights, layer_counts
from safecompress.sparse.selection import largest
from safecompress.topology import Topology, embedding_tables, maskable_parameters

_SPARED = 4
"""By this factor a layer may be sparser than the network before it is spared."""
METHODS = ("magnitude-global", "magnitude-layer", "scratch")
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def initialize(
    weights: nn.Module | Mapping[str, Tensor],
    *,
    density: float,
    distribution: str,
    method: str,
    seed: int,
    tables: frozenset[str] = frozenset(),
) -> Topology:
    """Return masks that keep exactly `round(density * total)` weights, at least one per layer.

    Magnitudes of all layers are compared only where they are comparable. An embedding table keeps
    its share by itself, because its entries are often drawn from N(0, 1), and other weights are
    far smaller. Every other layer keeps at least one weight for each output and input, or a
    quarter of its share where that is less, because no signal passes a layer that has nearly no
    weights.

    Equal magnitudes are settled by position and layer name; the result does not depend on the
    order of the layers. The weights are only read.

    Args:
        weights: a module, or its maskable parameters by name (`maskable_parameters`).
        density: share of the maskable weights kept, in (0, 1].
        distribution: `uniform`, `er` or `erk`: how many weights each layer keeps. Ignored by
            `magnitude-global`, where the magnitudes decide.
        method: `magnitude-global` (the largest |w| of the network), `magnitude-layer` (the largest
            |w| of each layer) or `scratch` (positions drawn at random).
        seed: fixes the random positions.
        tables: names of the embedding tables (`embedding_tables`); of a module they are known.

    Raises:
        ConfigError: on an unknown method or distribution, or a density that is impossible.
        ModelError: when a weight cannot be masked.
        NonFiniteError: when a weight is NaN or infinite.
    """
    tensors: Mapping[str, Tensor]
    if isinstance(weights, nn.Module):
        tensors, tables = maskable_parameters(weights), embedding_tables(weights)
    else:
        tensors = weights
    if method not in METHODS:
        raise ConfigError(f"initialize: '{method}' is unknown{did_you_mean(method, METHODS)}")
    _check(tensors)
    counts = layer_counts({n: tuple(t.shape) for n, t in tensors.items()}, density, distribution)
    if method == "magnitude-global":
        kept = _largest_of_all(tensors, density, tables)
    elif method == "magnitude-layer":
        kept = _best_of_each(counts, lambda name: _magnitudes(name, tensors[name]))
    else:
        kept = _best_of_each(
            counts,
            lambda name: torch.rand(
                tensors[name].numel(), generator=generator(seed, "initialise", name)
            ),
        )
    return Topology({name: _mask(tensor.shape, kept[name]) for name, tensor in tensors.items()})


def scale_to_mask_(module: nn.Module, topology: Topology, *, drawn: bool = True) -> None:
    """Scale untrained weights in place to make up for the weights that the masks remove.

    Scaling keeps the variance of signals that the dense initialization gave. Without it, a deep
    network without normalization that lacks 95 % of its weights has nearly the same output for
    every input. Where the mask was drawn at random, the weights of every output are multiplied by
    sqrt(fan-in / existing fan-in). Where the mask keeps the largest weights, that factor would be
    too large, and over many layers outputs would explode; there the existing weights of an output
    are scaled to the Euclidean norm that all its weights had. Embedding tables are not scaled,
    because their rows are looked up and not summed.

    Args:
        module: the model with untrained weights; its masked parameters are changed.
        topology: which weights exist.
        drawn: whether the mask was drawn at random rather than chosen by magnitude.

    Raises:
        ModelError: when the topology belongs to another model.

    Reference: for drawn masks, Evci, Ioannou, Keskin & Dauphin, AAAI 2022, section 3.1.
    """
    owners = {id(p): m for m in module.modules() for p in m.parameters(recurse=False)}
    parameters, tables = dict(module.named_parameters()), embedding_tables(module)
    looked_up = {id(parameters[name]) for name in tables}
    with torch.no_grad():
        for weight, mask in topology.bind(module):
            if id(weight) in looked_up:
                continue
            owner, parts, outputs = owners[id(weight)], mask, {0}
            if isinstance(owner, _TRANSPOSED):
                # A transposed weight is (in, out / groups, *kernel); each output sums over the
                # inputs of its group, so groups and outputs become dimensions of their own.
                parts, outputs = mask.reshape(owner.groups, -1, *mask.shape[1:]), {0, 2}
            summed = [d for d in range(parts.ndim) if d not in outputs]
            share = torch.ones_like(weight) if drawn else weight.square()
            share = share.reshape(parts.shape)
            kept = (share * parts).sum(summed, keepdim=True)
            scale = (share.sum(summed, keepdim=True) / kept).sqrt().where(kept > 0, 1.0)
            weight.mul_(scale.expand_as(parts).reshape(mask.shape))


def scaled_to_mask(
    module: nn.Module, weights: Mapping[str, Tensor], topology: Topology, *, drawn: bool
) -> dict[str, Tensor]:
    """Return untrained weights scaled as by `scale_to_mask_`, without changing the module.

    Args:
        module: the model; only its structure is used.
        weights: its untrained weights, a state_dict.
        topology: which weights exist.
        drawn: whether the mask was drawn at random rather than chosen by magnitude.

    Raises:
        ModelError: when the topology belongs to another model.
    """
    scaled = copy.deepcopy(module)
    scaled.load_state_dict(dict(weights))
    scale_to_mask_(scaled, topology, drawn=drawn)
    return {name: tensor.detach() for name, tensor in scaled.state_dict().items()}


def _check(tensors: Mapping[str, Tensor]) -> None:
    unfit = [n for n, t in tensors.items() if t.ndim < 2 or not t.is_floating_point()]
    if unfit:
        raise ModelError(
            f"initialize: {', '.join(repr(n) for n in sorted(unfit)[:3])} cannot be masked; only "
            "floating-point weights with two or more dimensions can. Biases and normalization "
            "stay dense: pass maskable_parameters(module)."
        )


def _magnitudes(name: str, tensor: Tensor) -> Tensor:
    """Return |w| as a flat CPU tensor."""
    magnitudes = tensor.detach().abs().flatten().cpu()
    if not bool(torch.isfinite(magnitudes).all()):
        raise NonFiniteError(f"initialize: '{name}' holds NaN or infinite weights.")
    return magnitudes


def _best_of_each(counts: Mapping[str, int], scores: Callable[[str], Tensor]) -> dict[str, Tensor]:
    return {name: largest(scores(name), count) for name, count in counts.items()}


def _largest_of_all(
    tensors: Mapping[str, Tensor], density: float, tables: frozenset[str]
) -> dict[str, Tensor]:
    """Return per layer the flat positions of the weights that are among the network's largest."""
    flat = {name: _magnitudes(name, tensors[name]) for name in sorted(tensors)}
    total = kept_weights({name: len(flat[name]) for name in flat if len(flat[name])}, density)
    apart = {name: largest(flat[name], _share(flat[name], density)) for name in tables & set(flat)}
    rest = {name: m for name, m in flat.items() if name not in apart}
    kept = total - sum(map(len, apart.values()))
    if not 0 <= kept - sum(len(m) > 0 for m in rest.values()) <= sum(map(len, rest.values())):
        # So few weights that tables rounded up leave too few: all layers compete.
        return _largest_of_all(tensors, density, frozenset())
    return apart | _competing(rest, kept, {name: _floor(tensors[name], density) for name in rest})


def _share(magnitudes: Tensor, density: float) -> int:
    """Return how many weights a layer keeps by its size; at least one, because none cuts it off."""
    return min(len(magnitudes), max(1, round(density * len(magnitudes))))


def _floor(tensor: Tensor, density: float) -> int:
    """Return how many weights a layer keeps however small they are, so that signals can pass it."""
    if not tensor.numel():
        return 0
    outputs, inputs = tensor.shape[0], math.prod(tensor.shape[1:2])
    return max(1, min(math.floor(density * tensor.numel() / _SPARED), outputs + inputs))


def _competing(
    flat: Mapping[str, Tensor], kept: int, floors: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return per layer the positions of its share of the `kept` largest, at least its floor."""
    if not flat:
        return {}
    names = list(flat)
    pool = torch.cat([flat[name] for name in names])
    starts = torch.tensor([0, *(len(flat[name]) for name in names)]).cumsum(0)
    for name, start in zip(names, starts.tolist(), strict=False):
        if not len(flat[name]):
            continue
        # Floors come before magnitudes, and one weight a layer before floors, for which there may
        # be too few weights.
        pool[start + largest(flat[name], floors[name])] = torch.finfo(pool.dtype).max
        pool[start + int(flat[name].argmax())] = math.inf
    chosen = largest(pool, kept)
    cuts = torch.searchsorted(chosen, starts)
    return {name: chosen[cuts[i] : cuts[i + 1]] - starts[i] for i, name in enumerate(names)}


def _mask(shape: torch.Size, positions: Tensor) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.view(-1)[positions] = True
    return mask
