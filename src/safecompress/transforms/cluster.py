"""`clustered` and `cluster_weights`: the weights of a layer share a few values."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, NonFiniteError
from safecompress.topology import maskable_parameters

MOST_BITS = 8
_ROUNDS = 300
"""Most rounds of k-means; sorted values settle within a few dozen."""


def clustered(weight: Tensor, bits: int) -> Tensor:
    """Return a weight whose non-zero entries have at most 2^bits distinct values; zeros stay zero.

    The values are found by k-means of the non-zero entries, for those below and those above zero
    apart, so that no weight changes its sign or becomes zero. Each sign gets values in proportion
    to its entries, and at least one. Nothing is random: k-means begins with the means of equally
    large groups of the sorted entries. Clustering a clustered weight changes nothing.

    Args:
        weight: floating-point, of any shape.
        bits: 1 to 8.

    Returns:
        Tensor of the same shape and dtype.

    Raises:
        ConfigError: on another number of bits.
        NonFiniteError: when a weight is NaN or infinite.

    Reference: Han, Mao & Dally, "Deep Compression", ICLR 2016, section 3.

    >>> clustered(torch.tensor([0.0, 0.9, 1.1, 5.0, -1.0, -3.0]), 1)
    tensor([ 0.0000,  2.3333,  2.3333,  2.3333, -2.0000, -2.0000])
    """
    if isinstance(bits, bool) or not 1 <= bits <= MOST_BITS:
        raise ConfigError(f"bits is {bits!r}; expected 1 to {MOST_BITS}.")
    if not bool(torch.isfinite(weight).all()):
        raise NonFiniteError("cluster: a weight is NaN or infinite; it cannot be clustered.")
    made = weight.detach().clone()
    signs = [made < 0, made > 0]
    counts = [int(mask.sum()) for mask in signs]
    for mask, values in zip(signs, _shares(counts, 1 << bits), strict=True):
        if values:
            made[mask] = _means(made[mask], values)
    return made


def _shares(counts: list[int], values: int) -> list[int]:
    """Return how many values each sign gets."""
    below, above = counts
    if not below or not above:
        return [values if below else 0, values if above else 0]
    first = min(max(round(values * below / (below + above)), 1), values - 1)
    return [first, values - first]


def _means(entries: Tensor, values: int) -> Tensor:
    """Return each entry's nearest of at most `values` values, found by k-means on the line."""
    distinct = torch.unique(entries)
    if len(distinct) <= values:
        return entries
    ordered = entries.double().sort().values
    cuts = torch.arange(values + 1, device=ordered.device) * len(ordered) // values
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    centers = torch.unique(_between(ordered, sums, cuts))
    for _ in range(_ROUNDS):
        inner = torch.searchsorted(ordered, _middles(centers), right=True)
        ends = inner.new_tensor([0, len(ordered)])
        cuts = torch.unique(torch.cat([ends[:1], inner, ends[1:]]))
        moved = _between(ordered, sums, cuts)
        if torch.equal(moved, centers):
            break
        centers = moved
    # What is stored decides who is nearest, so that clustering again finds the same values.
    kept: Tensor = torch.unique(centers.to(entries.dtype))
    nearest = torch.searchsorted(_middles(kept.double()), entries.double())
    return kept.index_select(0, nearest)


def _middles(centers: Tensor) -> Tensor:
    return (centers[1:] + centers[:-1]) / 2


def _between(ordered: Tensor, sums: Tensor, cuts: Tensor) -> Tensor:
    """Return the means of the sorted entries between neighboring cuts.

    A difference of the running sums loses what is small beside them: the mean of one tiny entry
    behind large ones would become zero. A mean lies within its group, so it is held there.
    """
    means = (sums[cuts[1:]] - sums[cuts[:-1]]) / (cuts[1:] - cuts[:-1])
    return means.clamp(min=ordered[cuts[:-1]], max=ordered[cuts[1:] - 1])


@dataclass(frozen=True)
class Clustered:
    """A module whose weights share values, and what that cost.

    Args:
        module: the module, in evaluation mode.
        values: by weight name the number of distinct values that are not zero.
        error: by weight name the share of its squared norm that was lost, in [0, 1].
    """

    module: nn.Module
    values: dict[str, int]
    error: dict[str, float]


def cluster_weights(module: nn.Module, *, bits: int) -> Clustered:
    """Return a copy of a module in which every layer's existing weights have at most 2^bits values.

    Weights that are zero stay zero, so masks survive; biases and normalization stay as they are.
    The values are fp32: a compact file of them is as long before packing, and smaller
    after it, because packing finds the repeated values.

    Args:
        module: a trained module; left as it is.
        bits: 1 to 8.

    Raises:
        ConfigError: on another number of bits.
        NonFiniteError: when a weight is NaN or infinite.
    """
    made = copy.deepcopy(module).eval()
    values, error = {}, {}
    for name, parameter in maskable_parameters(made).items():
        before = parameter.detach().clone()
        after = clustered(before, bits)
        with torch.no_grad():
            parameter.copy_(after)
        values[name] = len(torch.unique(after[after != 0]))
        norm = float(before.double().square().sum())
        lost = float((after.double() - before.double()).square().sum())
        error[name] = lost / norm if norm else 0.0
    return Clustered(made, values, error)
