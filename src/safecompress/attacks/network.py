"""`Network`, `NetworkAttack`: a network of one hidden layer that is fitted without descent.

Gradient descent spends most of its time on the hidden units. Here they are placed at random where
the rows are: some along every single feature, some along random combinations of three features.
Only the last layer is learned, which is a convex problem: ridge regression with its penalty chosen
by generalized cross-validation, then Newton steps on the logistic loss. This takes milliseconds
where descent takes a tenth of a second, at the same strength of the attack.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar, final

import torch
from torch import Tensor

from safecompress.attacks.options import require_at_least
from safecompress.attacks.quadratic import Standard
from safecompress.attacks.second_order import SeparationProblem, logistic, ridge
from safecompress.protocols import Attack, Evidence, Outputs, Pool
from safecompress.randomness import generator, permutation

_CLIP = 5.0
"""Standardized features are clamped at this value, so that an outlier cannot dominate the fit."""

_FAN_IN = 3
"""Number of features that a random unit reads: more than one for interactions, few to fit well."""

_PLACING_ROWS = 512
"""Number of rows whose quantiles place the units; more rows would hardly change them."""

_MOST_ROWS = 1 << 17
"""Most rows of each group that a network is fitted on; its hundred weights need no more."""

_BLOCK_ROWS = 1 << 17
"""Rows that are scored at a time, which bounds the memory of the hidden layer."""

_PENALTIES = tuple(10.0 ** (-k / 2) for k in range(9))
"""Ridge penalties to choose from, 1 to 1e-4, for standardized units and row weights of sum 1."""


Sorted = TypeVar("Sorted", Outputs, Evidence)


def in_id_order(rows: Sorted) -> Sorted:
    """Return rows sorted by id, so that what is learned from them does not depend on their order.

    Args:
        rows: outputs, or evidence, of n rows.
    """
    outputs = rows.outputs if isinstance(rows, Evidence) else rows
    return rows.take(torch.argsort(outputs.ids, stable=True))


class Scaling(Standard):
    """Standardizes features by the fit half's mean and standard deviation, for a network."""

    def __call__(self, raw: Tensor) -> Tensor:
        """Return standardized float32 features, clamped to ±5.

        Args:
            raw: float64 (n, features).
        """
        return super().__call__(raw).clamp_(-_CLIP, _CLIP).float()


@dataclass(frozen=True)
class Hidden:
    """A hidden layer of ReLU units.

    Args:
        weight: float32 (features, units).
        bias: float32 (units,).
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def placed(cls, x: Tensor, *, kinks: int, drawn: int, source: torch.Generator) -> Hidden:
        """Return units placed among the rows, each scaled to standard deviation 1 over them.

        Args:
            x: standardized features, float32 (n, features).
            kinks: number of units along every feature, whose kinks lie at evenly spaced quantiles
                from its smallest value.
            drawn: number of units along a random direction in three features, whose kink lies at a
                random row.
            source: random generator.
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
        # A unit that is constant over the rows carries no information and is switched off.
        size = torch.where(deviation > 1e-3, deviation, torch.inf)
        return cls(weight / size, bias / size)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the units and a constant 1 as the last column: (n, features) → (n, units + 1)."""
        design = x.new_ones(len(x), len(self.bias) + 1)
        torch.addmm(self.bias, x, self.weight, out=design[:, :-1]).relu_()
        return design


@dataclass(frozen=True)
class NetworkOptions:
    """The size of a network and the length of its fit.

    Args:
        hidden: number of units along random directions.
        kinks: number of units along every feature.
        steps: largest number of Newton steps on the logistic loss; 0 keeps the least-squares fit.
    """

    hidden: int = 16
    kinks: int = 4
    steps: int = 2


@dataclass(frozen=True)
class Network:
    """A fitted network, which maps raw features to the logit of "member".

    Args:
        scaling: the standardization of the features.
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
        """Return a network fitted to tell members from non-members.

        Both groups have the same total weight, whatever their sizes.

        Args:
            groups: features of members and of non-members, float64 (n, features), sorted by id so
                that the result does not depend on the order of the rows.
            options: the network's size.
            seed: seed of the hidden layer, together with `name`.
            name: name of the attack.
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
        # The logit is about twice the least-squares fit of ±1, and the logistic loss has a quarter
        # of the curvature, so weights and penalty are rescaled.
        last = logistic(
            problem, 2.0 * start.weights, penalty=start.penalty / 4, steps=options.steps
        )
        return cls(scaling, layer, last.float())

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the logit of "member" of each row of features, float64 (n,)."""
        return (self.hidden(self.scaling(raw)) @ self.last).double()


@dataclass(frozen=True)
class NetworkAttack(Attack):
    """An attack that fits a `Network`; authors write `features(evidence)`.

    Args:
        hidden: number of units along random directions, at least 1.
        kinks: number of units along every feature, at least 1.
        steps: largest number of Newton steps on the logistic loss; 0 keeps the least-squares fit.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Rahimi & Recht, Weighted Sums of Random Kitchen Sinks, NeurIPS 2008.
    """

    name: ClassVar[str] = "network"
    learns: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    hidden: int = 16
    kinks: int = 4
    steps: int = 2

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, kinks=1, steps=0)

    @abstractmethod
    def features(self, evidence: Evidence) -> Tensor:
        """Return the network's input, float64 (n, features), finite.

        A row's features must not depend on the other rows.

        Args:
            evidence: what is known about n rows.
        """

    @final
    @torch.no_grad()
    def fit(self, known: Pool[Evidence], *, seed: int) -> Network:
        """Return a network fitted to tell the fit half's members from its non-members.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the hidden layer.
        """
        options = NetworkOptions(self.hidden, self.kinks, self.steps)
        groups = known.map(lambda evidence: self._features_in_id_order(evidence, seed=seed))
        return Network.learned(groups, options, seed=seed, name=self.name)

    @final
    @torch.no_grad()
    def score(self, fitted: Network, evidence: Evidence) -> Tensor:
        """Return the logit of "member", float64 (n,).

        Args:
            fitted: the fitted network.
            evidence: what is known about n rows.
        """
        n = len(evidence.outputs)
        if n <= _BLOCK_ROWS:
            return fitted(self.features(evidence))
        blocks = torch.split(torch.arange(n), _BLOCK_ROWS)
        return torch.cat([fitted(self.features(evidence.take(block))) for block in blocks])

    def _features_in_id_order(self, evidence: Evidence, *, seed: int) -> Tensor:
        """Return features of rows sorted by id, because a fit must not depend on the row order.

        Of more rows than a fit needs, some are drawn.
        """
        order = torch.argsort(evidence.outputs.ids, stable=True)
        if len(order) <= _MOST_ROWS:
            return self.features(evidence)[order]
        drawn = permutation(len(order), seed, "attack", self.name, "rows")[:_MOST_ROWS]
        return self.features(evidence.take(order[drawn.sort().values]))
