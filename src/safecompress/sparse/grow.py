"""Grow rules: which missing weights come into existence. The highest scores are grown.

A rule scores, a `Strategy` counts. To add one: subclass `GrowRule`, write `score`, and register it
or publish it in the entry-point group `safecompress.grow_rules`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from safecompress.registry import Registry
from safecompress.sparse.layer import Layer, Requirement


class GrowRule(ABC):
    """Scores missing weights; higher = grown. The object holds no state."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[Requirement]] = frozenset()
    """What `score` needs besides the mask: `gradient`, `moving_average`."""

    @abstractmethod
    def score(self, layer: Layer) -> Tensor:
        """Return scores of the layer's shape; only missing weights' scores are read.

        Those must be finite.
        """


GROW_RULES: Registry[GrowRule] = Registry("grow rule", "safecompress.grow_rules", GrowRule)
"""The grow rules a configuration can name, each added below its class."""


@dataclass(frozen=True)
class RandomGrow(GrowRule):
    """Grow missing weights at random, each with the same chance.

    Reference: Mocanu et al., Nature Communications 2018.
    """

    name: ClassVar[str] = "random"

    def score(self, layer: Layer) -> Tensor:
        """Return uniform random numbers in [0, 1)."""
        return torch.rand(layer.weight.shape, generator=layer.generator)


GROW_RULES.add(
    "random",
    RandomGrow,
    summary="grows missing weights at random",
    reference="Mocanu et al., Nature Communications 2018",
    cost="no data",
)


@dataclass(frozen=True)
class RandomUnfiredGrow(GrowRule):
    """Grow weights that never existed, at random; when those run out, other missing ones.

    Reference: in-time over-parameterization, Liu et al., ICML 2021.
    """

    name: ClassVar[str] = "random-unfired"

    def score(self, layer: Layer) -> Tensor:
        """Return random numbers in [1, 2) for weights that never existed, else in [0, 1)."""
        chance = torch.rand(layer.weight.shape, generator=layer.generator)
        return chance + (~layer.ever_active).float()


GROW_RULES.add(
    "random-unfired",
    RandomUnfiredGrow,
    summary="grows weights that never existed, at random",
    reference="Liu et al., ICML 2021",
    cost="no data",
)


@dataclass(frozen=True)
class GradientGrow(GrowRule):
    """Grow the weights with the largest dense gradient.

    Reference: RigL, Evci et al., "Rigging the Lottery", ICML 2020.
    """

    name: ClassVar[str] = "gradient"
    requires: ClassVar[frozenset[Requirement]] = frozenset({"gradient"})

    def score(self, layer: Layer) -> Tensor:
        """Return |g|."""
        return layer.need("gradient").abs()


GROW_RULES.add(
    "gradient",
    GradientGrow,
    summary="grows the weights with the largest dense gradient",
    reference="Evci et al., ICML 2020",
    cost="a dense gradient",
)


@dataclass(frozen=True)
class MomentumGrow(GrowRule):
    """Grow the weights with the largest moving average of dense gradients.

    The average is the candidate's own, dense one: an optimizer's momentum is zero wherever a
    weight is missing and so says nothing about which of them to grow.

    Reference: Dettmers and Zettlemoyer, "Sparse Networks from Scratch", 2019.
    """

    name: ClassVar[str] = "momentum"
    requires: ClassVar[frozenset[Requirement]] = frozenset({"moving_average"})

    def score(self, layer: Layer) -> Tensor:
        """Return |moving average of g|."""
        return layer.need("moving_average").abs()


GROW_RULES.add(
    "momentum",
    MomentumGrow,
    summary="grows the weights with the largest moving average of dense gradients",
    reference="Dettmers and Zettlemoyer, 2019",
    cost="a dense moving average during training",
)
