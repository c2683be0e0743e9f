"""The neural attack: a network of one hidden layer whose last layer is solved, not descended.

Descent spends its time on bending the hidden units. They can as well be placed where the rows are:
some kinks along every feature, some units that look at three features at once. Then only the last
layer is left, a convex problem: ridge regression, its penalty chosen by generalised
cross-validation, and Newton steps on the logistic loss from there. That takes milliseconds where
descent took a tenth of a second, at the same strength. On location30 it beats both the best metric
attack and the published network; see `benchmarks/attacker_strength.py`, and `benchmarks/gate.py`
for what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from safecompress.attacks.features import features
from safecompress.attacks.metric import Terms
from safecompress.attacks.second_order import Problem, logistic, ridge
from safecompress.errors import ConfigError
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import generator

_CLIP = 5.0
"""Standardised features beyond this many deviations are cut: one odd row must not steer a net."""

_FAN_IN = 3
"""Features a drawn unit looks at: enough to join what single kinks cannot, few enough to fit."""

_PLACING_ROWS = 512
"""Rows that say where the kinks lie; more would hardly move them."""

_PENALTIES = tuple(10.0 ** (-k / 2) for k in range(9))
"""Ridge penalties to choose from, 1 to 1e-4, for units of unit deviation and weights of sum 1."""


def in_id_order(outputs: Outputs) -> Outputs:
    """Return the rows sorted by id, so that what is learnt does not depend on the row order."""
    return outputs.take(torch.argsort(outputs.ids, stable=True))


@dataclass(frozen=True)
class Scaling:
    """Puts features on the fit half's scale.

    Args:
        mean, scale: float64 (features,).
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> Scaling:
        """Return the scaling that makes the columns of `raw` standard."""
        scale = raw.std(dim=0, correction=0)
        # A constant column carries nothing; dividing by one keeps it at zero.
        return cls(raw.mean(dim=0), torch.where(scale > 1e-12, scale, 1.0))

    def __call__(self, raw: Tensor) -> Tensor:
        """Return float32 features cut at ±5 deviations."""
        return ((raw - self.mean) / self.scale).clamp_(-_CLIP, _CLIP).float()


@dataclass(frozen=True)
class Hidden:
    """A hidden layer of rectified units.

    Args:
        weight: float32 (features, units).
        bias: float32 (units,).
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def placed(cls, x: Tensor, *, kinks: int, drawn: int, source: torch.Generator) -> Hidden:
        """Place units among standardised features `x` (n, features), each of unit deviation there.

        Args:
            x: float32.
            kinks: units along every feature, at evenly spaced quantiles from its smallest value.
            drawn: units of a random direction in three features, bent at a random row.
            source: what is random.
        """
        count = x.shape[1]
        x = x[torch.randperm(len(x), generator=source)[:_PLACING_ROWS]]
        levels = torch.arange(kinks) * len(x) // kinks
        bends = x.T.contiguous().sort(dim=1).values[:, levels].flatten()
        chosen = torch.rand(count, drawn, generator=source).argsort(dim=0) < _FAN_IN
        directions = torch.randn(count, drawn, generator=source) * chosen
        rows = torch.randint(len(x), (drawn,), generator=source)
        weight = torch.cat([torch.eye(count).repeat_interleave(kinks, dim=1), directions], dim=1)
        bias = -torch.cat([bends, (x[rows] * directions.T).sum(dim=1)])
        deviation = torch.relu(torch.addmm(bias, x, weight)).std(dim=0, correction=0)
        # A unit that says the same of all rows says nothing.
        size = torch.where(deviation > 1e-3, deviation, torch.inf)
        return cls(weight / size, bias / size)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the units, and a constant 1 as the last: (n, features) → (n, units + 1)."""
        design = x.new_ones(len(x), len(self.bias) + 1)
        torch.addmm(self.bias, x, self.weight, out=design[:, :-1]).relu_()
        return design


@dataclass(frozen=True)
class FittedNeural:
    """What the neural attack has learnt.

    Args:
        scaling: of the features.
        hidden: the hidden layer.
        last: the last layer, float32 (units + 1,).
    """

    scaling: Scaling
    hidden: Hidden
    last: Tensor

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the logit of "member" of each row of features, float64 (n,)."""
        return (self.hidden(self.scaling(raw)) @ self.last).double()


def require_at_least(attack: Attack, **least: int) -> None:
    """Refuse options below their least value.

    Raises:
        ConfigError: naming the first one.
    """
    for option, smallest in least.items():
        if getattr(attack, option) < smallest:
            raise ConfigError(
                f"{option} is {getattr(attack, option)}; expected at least {smallest}."
            )


def fit_network(
    groups: Pool[Tensor], *, hidden: int, kinks: int, steps: int, source: torch.Generator
) -> FittedNeural:
    """Return a network that tells members from non-members; both kinds weigh the same.

    Args:
        groups: float64 (n, features), what is seen of each row, in an order that does not depend
            on how the rows came.
        hidden: units of a random direction.
        kinks: units along every feature.
        steps: Newton steps on the logistic loss, at most; 0 leaves the least-squares fit.
        source: what is random.
    """
    raw = torch.cat([groups.members, groups.nonmembers])
    sizes = torch.tensor([len(groups.members), len(groups.nonmembers)])
    scaling = Scaling.of(raw)
    x = scaling(raw)
    layer = Hidden.placed(x, kinks=kinks, drawn=hidden, source=source)
    problem = Problem(
        layer(x),
        target=torch.tensor([1.0, -1.0]).repeat_interleave(sizes),
        weight=(0.5 / sizes).repeat_interleave(sizes),
    )
    start = ridge(problem, penalties=_PENALTIES)
    # A logit is about twice the least-squares fit of ±1, and its loss a quarter as curved.
    last = logistic(problem, 2.0 * start.weights, penalty=start.penalty / 4, steps=steps)
    return FittedNeural(scaling, layer, last.float())


@dataclass(frozen=True)
class NeuralAttack(Attack):
    """A network of one hidden layer on sorted log-probabilities, loss, entropies, correctness.

    Members and non-members weigh the same, however many there are of each.

    Args:
        hidden: units of a random direction.
        kinks: units along every feature.
        top: largest log-probabilities shown, in falling order.
        steps: Newton steps on the logistic loss, at most; 0 leaves the least-squares fit.

    Raises:
        ConfigError: when an option is out of range.

    Reference: the features follow Salem et al., NDSS 2019, adversary 1, and Song & Mittal, 2021;
    the network Rahimi & Recht, Weighted Sums of Random Kitchen Sinks, NeurIPS 2008.
    """

    name: ClassVar[str] = "neural"
    learns: ClassVar[bool] = True

    hidden: int = 16
    kinks: int = 4
    top: int = 5
    steps: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, kinks=1, top=1, steps=0)

    @torch.no_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> FittedNeural:
        """Learn to tell the fit half's members from its non-members."""
        return fit_network(
            known.map(self._features_in_id_order),
            hidden=self.hidden,
            kinks=self.kinks,
            steps=self.steps,
            source=generator(seed, "attack", self.name),
        )

    @torch.no_grad()
    def score(self, fitted: FittedNeural, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,)."""
        return fitted(evidence.outputs.per_row(self._features))

    def _features_in_id_order(self, evidence: Evidence) -> Tensor:
        """Return the rows' features sorted by id, so that their order does not matter."""
        outputs = evidence.outputs
        return outputs.per_row(self._features)[torch.argsort(outputs.ids, stable=True)]

    def _features(self, outputs: Outputs) -> Tensor:
        return features(outputs.logits, outputs.labels, top=self.top, seen=Terms.of(outputs))
