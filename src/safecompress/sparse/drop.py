"""`DropRule` and the drop rules of this package: scores of existing weights, the lowest dropped.

A rule only scores weights; the proposal `Strategy` decides how many of them go. To add a rule,
subclass `DropRule`, write `score`, and register the class or publish it in the entry-point group
`safecompress.drop_rules`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from safecompress.registry import Registry
from safecompress.sparse.layer import Layer, Requirement
from safecompress.sparse.selection import places


class DropRule(ABC):
    """A rule that scores existing weights; the highest scores are kept. Rules hold no state."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[Requirement]] = frozenset()
    """What `score` needs besides the weights: `gradient`, `moving_average`."""
    pooled: ClassVar[bool] = False
    """Whether scores are comparable between layers, so that one threshold serves all of them."""

    @abstractmethod
    def score(self, layer: Layer) -> Tensor:
        """Return a score of every weight; the lowest scores are dropped.

        Args:
            layer: the parameter whose weights are scored; it is only read.

        Returns:
            A tensor of the layer's shape. Only the scores of existing weights are read, and these
            must be finite.
        """


DROP_RULES: Registry[DropRule] = Registry("drop rule", "safecompress.drop_rules", DropRule)
"""The drop rules that a configuration can name, each registered below its class."""


@dataclass(frozen=True)
class MagnitudeDrop(DropRule):
    """Drop the weights nearest to zero, whatever their sign.

    Reference: Han et al., "Learning both Weights and Connections", NeurIPS 2015.
    """

    name: ClassVar[str] = "magnitude"

    def score(self, layer: Layer) -> Tensor:
        """Return |w|.

        Args:
            layer: its weights are read.
        """
        return layer.weight.abs()


DROP_RULES.add(
    "magnitude",
    MagnitudeDrop,
    summary="drops the weights nearest to zero in each layer",
    reference="Han et al., NeurIPS 2015",
    cost="no data",
)


@dataclass(frozen=True)
class SetDrop(DropRule):
    """Drop the smallest positive and the largest negative weights: the same share of each sign.

    `magnitude` ranks both signs together and drops only positive weights if those are the small
    ones; SET ranks each sign by itself and so keeps the balance of signs. The score is a weight's
    quantile among the existing weights of its sign. The n lowest scores therefore divide n between
    the signs in proportion to their numbers, rounded to whole weights. Existing weights that are
    exactly zero have no sign and are dropped first.

    Reference: Mocanu et al., Nature Communications 2018, algorithm 1.
    """

    name: ClassVar[str] = "set"

    def score(self, layer: Layer) -> Tensor:
        """Return the quantile of |w| among existing weights of the same sign, float64 in [0, 1).

        Args:
            layer: its weights and its mask are read.
        """
        existing = places(layer.mask.flatten())
        weights = layer.weight.flatten()[existing]
        quantiles = torch.zeros(len(weights), dtype=torch.float64)
        for of_sign in (weights > 0, weights < 0):
            positions = places(of_sign)
            nearest_first = torch.argsort(weights[positions].abs(), stable=True)
            steps = torch.arange(len(positions), dtype=torch.float64) + 0.5
            quantiles[positions[nearest_first]] = steps / max(len(positions), 1)
        score = torch.zeros(layer.weight.shape, dtype=torch.float64)
        score.view(-1)[existing] = quantiles
        return score


DROP_RULES.add(
    "set",
    SetDrop,
    summary="drops the same share of each sign, nearest to zero first",
    reference="Mocanu et al., Nature Communications 2018",
    cost="no data; sorts the existing weights",
)


@dataclass(frozen=True)
class ThresholdDrop(DropRule):
    """Drop every weight below one threshold on |w| that all layers share.

    Threshold pruning cuts all layers at the same value, so layers with many small weights lose
    more than others. A fixed threshold would drop an unpredictable number of weights; here the
    threshold is placed so that it drops exactly as many weights in total as `magnitude` would.
    Each layer grows back as many weights as it lost, so its count stays, and a layer never loses
    its last weight to the threshold.

    Reference: Han et al., "Learning both Weights and Connections", NeurIPS 2015, for a threshold
    on |w|; Mostafa and Wang, ICML 2019, for one shared by all layers in sparse training.
    """

    name: ClassVar[str] = "threshold"
    pooled: ClassVar[bool] = True

    def score(self, layer: Layer) -> Tensor:
        """Return |w|.

        Args:
            layer: its weights are read.
        """
        return layer.weight.abs()


DROP_RULES.add(
    "threshold",
    ThresholdDrop,
    summary="drops weights below one threshold that all layers share",
    reference="Mostafa and Wang, ICML 2019",
    cost="no data",
)


@dataclass(frozen=True)
class TaylorDrop(DropRule):
    """Drop the weights whose removal changes the loss least, to first order.

    Reference: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019.
    """

    name: ClassVar[str] = "taylor"
    requires: ClassVar[frozenset[Requirement]] = frozenset({"gradient"})

    def score(self, layer: Layer) -> Tensor:
        """Return |w · g|, the first-order change of the loss when a weight becomes zero.

        Args:
            layer: its weights and its dense gradient are read.

        Raises:
            ConfigError: when the layer has no gradient.
        """
        return (layer.weight * layer.need("gradient")).abs()


DROP_RULES.add(
    "taylor",
    TaylorDrop,
    summary="drops the weights whose removal changes the loss least, to first order",
    reference="Molchanov et al., CVPR 2019",
    cost="a dense gradient",
)
