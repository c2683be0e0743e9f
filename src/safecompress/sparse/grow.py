"""`GrowRule` and the grow rules of this package: scores of missing weights, the highest grown.

A rule only scores weights; the proposal `Strategy` decides how many come into existence. To add a
rule, subclass `GrowRule`, write `score`, and register the class or publish it in the entry-point
group `safecompress.grow_rules`.
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
    """A rule that scores missing weights; the highest scores are grown. Rules hold no state."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[Requirement]] = frozenset()
    """What `score` needs besides the mask: `gradient`, `moving_average`."""

    @abstractmethod
    def score(self, layer: Layer) -> Tensor:
        """Return a score of every weight; the highest scores are grown.

        Args:
            layer: the parameter whose missing weights are scored; it is only read.

        Returns:
            A tensor of the layer's shape. Only the scores of missing weights are read, and these
            must be finite.
        """


GROW_RULES: Registry[GrowRule] = Registry("grow rule", "safecompress.grow_rules", GrowRule)
"""The grow rules that a configuration can name, each registered below its class."""


@dataclass(frozen=True)
class RandomGrow(GrowRule):
    """Grow missing weights at random, each with the same chance.

    Reference: Mocanu et al., Nature Communications 2018.
    """

    name: ClassVar[str] = "random"

    def score(self, layer: Layer) -> Tensor:
        """Return uniform random numbers, float32 in [0, 1).

        Args:
            layer: its shape and its generator are read.
        """
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
        """Return random numbers in [1, 2) for weights that never existed, else in [0, 1).

        Args:
            layer: its shape, `ever_active` and its generator are read.
        """
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
        """Return |g|.

        Args:
            layer: its dense gradient is read.

        Raises:
            ConfigError: when the layer has no gradient.
        """
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

    The trainer keeps this dense average for the candidate. The optimizer's momentum would not do:
    it is zero wherever a weight is missing, so it cannot rank missing weights.

    Reference: Dettmers and Zettlemoyer, "Sparse Networks from Scratch", 2019.
    """

    name: ClassVar[str] = "momentum"
    requires: ClassVar[frozenset[Requirement]] = frozenset({"moving_average"})

    def score(self, layer: Layer) -> Tensor:
        """Return |moving average of g|.

        Args:
            layer: its moving average is read.

        Raises:
            ConfigError: when the layer has no moving average.
        """
        return layer.need("moving_average").abs()


GROW_RULES.add(
    "momentum",
    MomentumGrow,
    summary="grows the weights with the largest moving average of dense gradients",
    reference="Dettmers and Zettlemoyer, 2019",
    cost="a dense moving average during training",
)
