"""`layer_counts`: how many weights each layer keeps when the network keeps a given share.

A distribution says how dense layers are in proportion to each other; the counts add up exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from safecompress.errors import ConfigError, did_you_mean

Shape = tuple[int, ...]


def _uniform(shape: Shape) -> float:
    del shape
    return 1.0


def _er(shape: Shape) -> float:
    """Erdős–Rényi over channels: a kernel counts as one connection."""
    outputs, inputs = shape[0], math.prod(shape[1:2])
    return (outputs + inputs) / (outputs * inputs)


def _erk(shape: Shape) -> float:
    """Erdős–Rényi-Kernel: kernel dimensions count as well."""
    return sum(shape) / math.prod(shape)


DISTRIBUTIONS: Mapping[str, Callable[[Shape], float]] = {
    "uniform": _uniform,
    "er": _er,
    "erk": _erk,
}
"""Per name a function from a layer's shape to its density, up to a factor common to all layers.

`layer_counts` chooses the factor so that the counts add up to the total.

References: `er` Mocanu et al., Nature Communications 2018, equation 1; `erk` Evci et al.,
"Rigging the Lottery", ICML 2020, section 3.
"""


def layer_counts(shapes: Mapping[str, Shape], density: float, distribution: str) -> dict[str, int]:
    """Return how many weights each layer keeps.

    The counts sum to exactly `round(density * total)`. A layer whose density would exceed 1 is
    dense, and the other layers' densities are scaled up. Fractional counts are rounded by the
    method of largest remainders. Every layer keeps at least one weight. The result does not depend
    on the order of `shapes`.

    Args:
        shapes: each parameter's shape by its name.
        density: share of all weights kept, in (0, 1].
        distribution: `uniform`, `er` or `erk`.

    Raises:
        ConfigError: on an unknown distribution, a density outside (0, 1], no weights at all, or
            fewer kept weights than layers.

    >>> layer_counts({"a": (4, 4), "b": (2, 2)}, 0.5, "erk")
    {'a': 7, 'b': 3}
    """
    if distribution not in DISTRIBUTIONS:
        raise ConfigError(
            f"distribution: '{distribution}' is unknown{did_you_mean(distribution, DISTRIBUTIONS)}"
        )
    sizes = {name: math.prod(shapes[name]) for name in sorted(shapes) if math.prod(shapes[name])}
    total = kept_weights(sizes, density)
    raw = {name: DISTRIBUTIONS[distribution](tuple(shapes[name])) for name in sizes}
    shares = _fill(sizes, raw, total)
    counts = _round(shares, sizes, total)
    return {name: counts.get(name, 0) for name in shapes}


def kept_weights(sizes: Mapping[str, int], density: float) -> int:
    """Return `round(density * total)` after checking that every layer can keep a weight.

    Args:
        sizes: each layer's number of weights by its name, all positive.
        density: share of all weights kept, in (0, 1].

    Raises:
        ConfigError: on a density outside (0, 1], no layers, or fewer kept weights than layers.
    """
    if not 0.0 < density <= 1.0:
        raise ConfigError(f"density is {density}; expected a number in (0, 1].")
    if not sizes:
        raise ConfigError(
            "density: the model has no weights to mask; only floating-point parameters with two "
            "or more dimensions can be sparse."
        )
    total = sum(sizes.values())
    kept = round(density * total)
    if kept < len(sizes):
        raise ConfigError(
            f"density {density:g} keeps {kept} of {total} weights, but {len(sizes)} layers need at "
            f"least one each; use a density of at least {len(sizes) / total:.2g}."
        )
    return kept


def _fill(sizes: Mapping[str, int], raw: Mapping[str, float], total: int) -> dict[str, float]:
    """Return real-valued counts proportional to raw × size, none above the layer's size.

    Making a layer dense leaves more weights to the others, which may make them dense in turn, so
    the factor is computed again until no further layer is full.
    """
    dense: set[str] = set()
    while True:
        free = total - sum(sizes[name] for name in dense)
        weight = math.fsum(raw[name] * sizes[name] for name in sizes if name not in dense)
        factor = free / weight if weight else 0.0
        full = {n for n in sizes if n not in dense and factor * raw[n] >= 1.0}
        if not full:
            return {n: float(sizes[n]) if n in dense else factor * raw[n] * sizes[n] for n in sizes}
        dense |= full


def _round(shares: Mapping[str, float], sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Round to integers in [1, size] that sum to `total`, by largest remainder."""
    counts = {n: min(max(math.floor(share), 1), sizes[n]) for n, share in shares.items()}
    while (missing := total - sum(counts.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [n for n in counts if 1 <= counts[n] + step <= sizes[n]]
        movable.sort(key=lambda n: (step * (counts[n] - shares[n]), n))
        for name in movable[: abs(missing)]:
            counts[name] += step
    return counts
