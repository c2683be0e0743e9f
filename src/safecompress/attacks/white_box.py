"""`WhiteBoxAttack`: the neural attack with gradient norms and last-layer features in addition.

The outputs already give away most of what a model leaks, so a white-box attack adds little where a
black-box attack is strong. On location30 two kinds of features add to it: the length of each
layer's gradient, and how typical of its class a row is in the last layer. Further features of the
last layer's gradient (its principal or discriminating directions, its sparsity) over-fit more than
they help. `benchmarks/attacker_strength.py` measures both attacks side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from safecompress.attacks.features import OutputFeatures
from safecompress.attacks.network import Network, NetworkOptions, in_id_order
from safecompress.attacks.options import require_at_least
from safecompress.attacks.registry import ATTACKS
from safecompress.errors import MissingEvidenceError
from safecompress.protocols import Attack, Evidence, Internals, Outputs, Pool, residuals
from safecompress.spacing import evenly_spaced

_SHORTEST = 1e-6
"""Least gradient length, relative to ‖p − y‖. Where no unit is active the gradient is 0, and the
logarithm of a single such row would dominate the scale of the feature."""


def internals_of(evidence: Evidence) -> Internals:
    """Return the internals in some evidence.

    Args:
        evidence: what is known about n rows.

    Raises:
        MissingEvidenceError: when the evidence has no internals.
    """
    if evidence.internals is None:
        raise MissingEvidenceError("white-box: needs 'internals', which this audit does not have.")
    return evidence.internals


@dataclass(frozen=True)
class FittedWhiteBox:
    """What the white-box attack has learned.

    Args:
        typical: float32 (classes, d), the direction of each class's mean features, of length 1.
        network: maps a row's features to the logit of "member".
    """

    typical: Tensor
    network: Network


@dataclass(frozen=True)
class WhiteBoxAttack(Attack):
    """A network of one hidden layer on the features of `neural`, gradient norms and typicality.

    Besides the black-box features it reads the logarithm of the length of each layer's gradient,
    the cosine between the row's last features and their mean over its class, and the largest such
    cosine with another class. The means are over all rows of the fit half.

    Args:
        hidden: number of hidden units with a random direction.
        kinks: number of hidden units along every feature.
        top: number of largest log-probabilities read, in falling order.
        layers: largest number of layers whose gradients are read: the last, the first and others
            evenly between.
        steps: largest number of Newton steps on the logistic loss; 0 keeps the least-squares fit.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Nasr, Shokri & Houmansadr, S&P 2019, for the choice of features; there, too, the last
    layers reveal most.
    """

    name: ClassVar[str] = "white-box"
    signals: ClassVar[str] = "inside"
    requires: ClassVar[frozenset[str]] = frozenset({"internals"})
    learns: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    hidden: int = 16
    kinks: int = 4
    top: int = 5
    layers: int = 6
    steps: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, kinks=1, top=1, layers=1, steps=0)

    @torch.no_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedWhiteBox:
        """Learn to tell the fit half's members from its non-members.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the network's hidden units.
        """
        ordered = known.map(in_id_order)
        typical = _typical(ordered)
        options = NetworkOptions(self.hidden, self.kinks, self.steps)
        groups = ordered.map(lambda e: self._features(typical, e))
        return FittedWhiteBox(typical, Network.learned(groups, options, seed=seed, name=self.name))

    @torch.no_grad()
    def score(self, fitted: FittedWhiteBox, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,).

        Args:
            fitted: what `fit` returned.
            evidence: outputs and internals of n rows.
        """
        return fitted.network(self._features(fitted.typical, evidence))

    def _features(self, typical: Tensor, evidence: Evidence) -> Tensor:
        """Return the network's input, float64 (n, top + 7 + layers + 2)."""
        outputs, internals = evidence.outputs, internals_of(evidence)
        least = _SHORTEST * outputs.per_row(_residual_lengths)[:, None]
        # Where p − y is 0, too, the clamp keeps the logarithm finite.
        norms = torch.maximum(internals.gradient_norms, least).clamp(min=1e-300).log()
        layers = evenly_spaced(norms.shape[1], self.layers)
        cosines = _likeness(typical, internals, outputs.labels)
        black_box = outputs.per_row(OutputFeatures(self.top))
        return torch.cat([black_box, norms[:, layers], cosines], dim=1)


ATTACKS.add(
    "white-box",
    WhiteBoxAttack,
    summary="what neural sees, the length of each layer's gradient and how typical a row looks",
    reference="Nasr, Shokri & Houmansadr, S&P 2019, for what is read",
    cost="about 0.02 s for 1,000 + 1,000 fit rows × 30 classes on one core, and as long as two to "
    "four predictions of all rows",
)


def _residual_lengths(outputs: Outputs) -> Tensor:
    return residuals(outputs.logits, outputs.labels).length


def _typical(known: Pool[Evidence]) -> Tensor:
    """Return the direction of each class's mean features, (classes, d).

    The mean over all rows is added to each class's sum, so that it stands in for a class without
    rows.
    """
    both = (known.members, known.nonmembers)
    h = torch.cat([internals_of(e).features for e in both])
    labels = torch.cat([e.outputs.labels for e in both])
    sums = h.new_zeros(both[0].outputs.classes, h.shape[1]).index_add_(0, labels, h)
    return normalize(sums + h.mean(dim=0), dim=1)


def _likeness(typical: Tensor, internals: Internals, labels: Tensor) -> Tensor:
    """Return the cosine with the typical features of the row's class, and the largest with another.

    The result is float64 (n, 2).
    """
    cosines = normalize(internals.features, dim=1) @ typical.T
    column = labels[:, None]
    own = cosines.gather(1, column)
    # −1 is below every cosine, so the row's own class never wins; with a single class it remains.
    other = cosines.scatter(1, column, -1.0).amax(dim=1, keepdim=True)
    return torch.cat([own, other], dim=1).double()
