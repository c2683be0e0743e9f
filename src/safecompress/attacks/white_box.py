"""The white-box attack: the neural attack's network, shown what happens inside the model as well.

A model that outputs speak for gives away most of what it leaks, and a white-box attack adds little
where a black-box one is strong. What adds anything on location30: how long each layer's gradient
is, and how typical of its class the row looks to the last layer. More of the last layer's gradient
(its principal or discriminating directions, its sparsity) was tried and told the attacker less than
it cost him in over-fitting. `benchmarks/attacker_strength.py` measures both attacks side by side.
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

_SHORTEST = 1e-6
"""Gradients shorter than this, relative to p − y, are taken for as long: where no unit is active
they are 0, and one such row would make a common scale useless."""


def internals_of(evidence: Evidence) -> Internals:
    """Return the internals that a white-box attack reads.

    Raises:
        MissingEvidenceError: where there are none.
    """
    if evidence.internals is None:
        raise MissingEvidenceError("white-box: needs 'internals', which this audit does not have.")
    return evidence.internals


@dataclass(frozen=True)
class FittedWhiteBox:
    """What the white-box attack has learned.

    Args:
        typical: float32 (classes, d), the direction of each class's mean features.
        network: reads what is seen of a row.
    """

    typical: Tensor
    network: Network


@dataclass(frozen=True)
class WhiteBoxAttack(Attack):
    """A network of one hidden layer on what `neural` sees, gradient norms and typical features.

    Beside the black-box features it sees the logarithm of the length of each layer's gradient, the
    cosine between the row's last features and the mean of its class's, and the largest cosine to
    another class's; means are of the fit half's rows, members or not.

    Args:
        hidden: units of a random direction.
        kinks: units along every feature.
        top: largest log-probabilities shown, in falling order.
        layers: most layers whose gradients are shown: the first, the last and evenly between.
        steps: Newton steps on the logistic loss, at most; 0 leaves the least-squares fit.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Nasr, Shokri & Houmansadr, S&P 2019, for what a white-box attacker reads; the last
    layers tell most there, too.
    """

    name: ClassVar[str] = "white-box"
    requires: ClassVar[frozenset[str]] = frozenset({"internals"})
    learns: ClassVar[bool] = True

    hidden: int = 16
    kinks: int = 4
    top: int = 5
    layers: int = 6
    steps: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, kinks=1, top=1, layers=1, steps=0)

    @torch.no_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedWhiteBox:
        """Learn to tell the fit half's members from its non-members."""
        ordered = known.map(in_id_order)
        typical = _typical(ordered)
        options = NetworkOptions(self.hidden, self.kinks, self.steps)
        seen = ordered.map(lambda e: self._seen(typical, e))
        return FittedWhiteBox(typical, Network.learned(seen, options, seed=seed, name=self.name))

    @torch.no_grad()
    def score(self, fitted: FittedWhiteBox, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,)."""
        return fitted.network(self._seen(fitted.typical, evidence))

    def _seen(self, typical: Tensor, evidence: Evidence) -> Tensor:
        """Return what the network reads, float64 (n, top + 7 + layers + 2)."""
        outputs, internals = evidence.outputs, internals_of(evidence)
        least = _SHORTEST * outputs.per_row(_residual_lengths)[:, None]
        # Where p − y is 0 as well, any length will do, but not the logarithm of 0.
        norms = torch.maximum(internals.gradient_norms, least).clamp(min=1e-300).log()
        shown = _evenly(norms.shape[1], self.layers)
        alike = _likeness(typical, internals, outputs.labels)
        return torch.cat([outputs.per_row(OutputFeatures(self.top)), norms[:, shown], alike], dim=1)


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


def _evenly(there: int, most: int) -> Tensor:
    """Return places of at most `most` of `there` layers, the last among them and the first, too."""
    if most == 1:
        return torch.tensor([there - 1])
    return torch.linspace(0, there - 1, min(there, most)).round().long()


def _typical(known: Pool[Evidence]) -> Tensor:
    """Return the direction of each class's mean features; a class without rows gets the mean's."""
    both = (known.members, known.nonmembers)
    h = torch.cat([internals_of(e).features for e in both])
    labels = torch.cat([e.outputs.labels for e in both])
    sums = h.new_zeros(both[0].outputs.classes, h.shape[1]).index_add_(0, labels, h)
    return normalize(sums + h.mean(dim=0), dim=1)


def _likeness(typical: Tensor, internals: Internals, labels: Tensor) -> Tensor:
    """Return the cosine to the own class's typical features, and the largest to another's."""
    cosines = normalize(internals.features, dim=1) @ typical.T
    column = labels[:, None]
    own = cosines.gather(1, column)
    # Below every cosine; with a single class there is no other.
    other = cosines.scatter(1, column, -1.0).amax(dim=1, keepdim=True)
    return torch.cat([own, other], dim=1).double()
