"""`cut`, `drawn`, `declared`: what first masks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from safecompress.defenses import Scope
from safecompress.errors import ConfigError
from safecompress.protocols import FirstMaskContext
from safecompress.sparse import initialize
from safecompress.topology import Topology, embedding_tables, maskable_parameters

T = TypeVar("T")


def cut(context: FirstMaskContext, scores: Mapping[str, Tensor], *, scope: Scope) -> Topology:
    """Return masks of the weights with the largest |score|.

    Args:
        context: gives density, distribution, and the maskable parameters.
        scores: a state_dict, or a score for each maskable weight.
        scope: whether scores are compared over all layers (`global`) or in each (`layer`).

    Raises:
        ConfigError: when the density cannot be met exactly.
        NonFiniteError: when a score is NaN or infinite.
    """
    return _initialized(context, scores, method=f"magnitude-{scope}")


def drawn(context: FirstMaskContext) -> Topology:
    """Return masks drawn at random.

    Args:
        context: gives density, distribution, seed, and the maskable parameters.

    Raises:
        ConfigError: when the density cannot be met exactly.
    """
    return _initialized(context, context.untrained, method="scratch")


def declared(value: T | None, *, what: str) -> T:
    """Return a field of the context that the first mask declares to need.

    Args:
        value: the field.
        what: the field in words, for the message.

    Raises:
        ConfigError: when the field is None.
    """
    if value is None:
        raise ConfigError(f"first mask: the context has no {what}, which the mask declares.")
    return value


def _initialized(
    context: FirstMaskContext, weights: Mapping[str, Tensor], *, method: str
) -> Topology:
    return initialize(
        {name: weights[name] for name in maskable_parameters(context.module)},
        density=context.sparse.density,
        distribution=context.sparse.distribution,
        method=method,
        seed=context.seed,
        tables=embedding_tables(context.module),
    )
