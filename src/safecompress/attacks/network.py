"""A network of one hidden layer whose last layer is solved, not descended.

Descent spends its time on bending the hidden units. They can as well be placed where the rows are:
some kinks along every feature, some units that look at three features at once. Then only the last
layer is left, a convex problem: ridge regression, its penalty chosen by generalized
cross-validation, and Newton steps on the logistic loss from there. That takes milliseconds where
descent took a tenth of a second, at the same strength.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar, final

import torch
from torch import Tensor

from safecompress.attacks.options import require_at_least
from safecompress.attacks.second_order import SeparationProblem, logistic, ridge
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import generator

_CLIP = 5.0
"""Standardized features beyond this many deviations are cut: one odd row must not steer a net."""

_FAN_IN = 3
"""Features a drawn unit looks at: enough to join what single kinks cannot, few enough to fit."""

_PLACING_ROWS = 512
"""Rows that say where the kinks lie; more would hardly move them."""

_PENALTIES = tuple(10.0 ** (-k / 2) for k in range(9))
"""Ridge penalties to choose from, 1 to 1e-4, for units of unit deviation and weights of sum 1."""


Sorted = TypeVar("Sorted", Outputs, Evidence)


def in_id_order(rows: Sorted) -> Sorted:
    """Return the rows sorted by id, so that what is learned does not depend on the row order."""
    outputs = rows.outputs if isinstance(rows, Evidence) else rows
    return rows.take(torch.argsort(outputs.ids, stable=True))


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
        """Place units among standardized features `x` (n, features), each of unit deviation there.

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
class NetworkOptions:
    """How large a network is and how long it is polished.

    Args:
        hidden: units of a random direction.
        kinks: units along every feature.
        steps: Newton steps on the logistic loss, at most; 0 leaves the least-squares fit.
    """

    hidden: int = 16
    kinks: int = 4
    steps: int = 2


@dataclass(frozen=True)
class Network:
    """What a neural attack has learned.

    Args:
        scaling: of the features.
        hidden: the hidden layer.
        last: the last layer, float32 (units + 1,).
    """

    scaling: Scaling
    hidden: Hidden
    last: Tensor

    @classmethod
    @torch.no_grad()
    def learned(
        cls, groups: Pool[Tensor], options: NetworkOptions, *, seed: int, name: str
    ) -> Network:
        """Learn to tell members from non-members; both weigh the same, however many there are.

        Args:
            groups: features of each, float64 (n, features), in an order that means nothing.
            options: the network's size.
            seed: of the hidden layer, with `name`.
            name: the attack's.
        """
        raw = torch.cat([groups.members, groups.nonmembers])
        sizes = torch.tensor([len(groups.members), len(groups.nonmembers)])
        scaling = Scaling.of(raw)
        x = scaling(raw)
        source = generator(seed, "attack", name)
        layer = Hidden.placed(x, kinks=options.kinks, drawn=options.hidden, source=source)
        problem = SeparationProblem(
            layer(x),
            target=torch.tensor([1.0, -1.0]).repeat_interleave(sizes),
            weight=(0.5 / sizes).repeat_interleave(sizes),
        )
        start = ridge(problem, penalties=_PENALTIES)
        # A logit is about twice the least-squares fit of ±1, and its loss a quarter as curved.
        last = logistic(
            problem, 2.0 * start.weights, penalty=start.penalty / 4, steps=options.steps
        )
        return cls(scaling, layer, last.float())

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the logit of "member" of each row of features, float64 (n,)."""
        return (self.hidden(self.scaling(raw)) @ self.last).double()


@dataclass(frozen=True)
class NetworkAttack(Attack):
    """An attacker that learns a network; authors give `features(evidence)`.

    Args:
        hidden: units of a random direction.
        kinks: units along every feature.
        steps: Newton steps on the logistic loss, at most; 0 leaves the least-squares fit.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Rahimi & Recht, Weighted Sums of Random Kitchen Sinks, NeurIPS 2008.
    """

    name: ClassVar[str] = "network"
    learns: ClassVar[bool] = True

    hidden: int = 16
    kinks: int = 4
    steps: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, kinks=1, steps=0)

    @abstractmethod
    def features(self, evidence: Evidence) -> Tensor:
        """Return what the network reads, float64 (n, features), finite, each row by itself."""

    @final
    @torch.no_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> Network:
        """Learn to tell the fit half's members from its non-members."""
        options = NetworkOptions(self.hidden, self.kinks, self.steps)
        groups = known.map(self._features_in_id_order)
        return Network.learned(groups, options, seed=seed, name=self.name)

    @final
    @torch.no_grad()
    def score(self, fitted: Network, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,)."""
        return fitted(self.features(evidence))

    def _features_in_id_order(self, evidence: Evidence) -> Tensor:
        """Return the rows' features sorted by id, so that their order does not matter."""
        return self.features(evidence)[torch.argsort(evidence.outputs.ids, stable=True)]
