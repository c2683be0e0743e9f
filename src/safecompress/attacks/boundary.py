"""`BoundaryAttack`: label-only inference from a row's distance to the decision boundary.

Members lie farther from the boundary of their class. The attack queries the model for predicted
classes only, with many rows in one batch, and stops querying a row once its result is known. It
sends arbitrary real numbers; where an attacker can only send yes/no answers or words, use
`augmentation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from safecompress.attacks.options import require_at_least
from safecompress.attacks.oracle import Oracle
from safecompress.attacks.registry import ATTACKS
from safecompress.errors import UndecidableError
from safecompress.protocols import Attack, Evidence, Rows
from safecompress.randomness import generator

_ELEMENTS = 1 << 23
"""Largest number of input values in one batch of queries: 32 MB."""

_DOUBLINGS = 12
_BISECTIONS = 10
"""Number of bisections of a bracket, which locate the boundary to a thousandth of it."""

_STEP_HALVINGS = 8


@dataclass(frozen=True)
class BoundaryAttack(Attack):
    """Score = distance to the nearest point found in another class; 0 for misclassified rows.

    The random directions are the same for every row, model and seed, so that the scores of models
    can be compared. `most_queries` is the largest number of queries that a row costs.

    Args:
        directions: number of random directions in which the boundary is searched first.
        steps: number of steps of the decision attack along the boundary; 0 keeps the distance along
            the best of the random directions.
        estimates: number of queries for the first estimate of the boundary's normal; the t-th takes
            √t times as many.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Choquette-Choo et al., ICML 2021, section 4.2, and Li & Zhang, CCS 2021, section 4;
    the decision attack is HopSkipJump, Chen, Jordan & Wainwright, S&P 2020, algorithm 2.
    """

    name: ClassVar[str] = "boundary"
    signals: ClassVar[str] = "boundary"
    requires: ClassVar[frozenset[str]] = frozenset({"rows", "target"})
    label_only: ClassVar[bool] = True

    directions: int = 8
    steps: int = 5
    estimates: int = 32

    def __post_init__(self) -> None:
        require_at_least(self, directions=1, steps=0, estimates=2)

    @property
    def most_queries(self) -> int:
        """The largest number of queries that a row costs."""
        start = self.directions * (_DOUBLINGS + _BISECTIONS)
        walk = sum(self._estimates(t) + _STEP_HALVINGS + _BISECTIONS for t in range(self.steps))
        return start + walk

    def _estimates(self, step: int) -> int:
        return int(self.estimates * math.sqrt(step + 1))

    @torch.no_grad()
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return the shortest distance found, float64 (n,), at least 0.

        Args:
            fitted: not used.
            evidence: rows, the target's outputs on them, and the target to query.

        Raises:
            UndecidableError: when the inputs are not one tensor of real numbers.
        """
        del fitted
        rows = cast(Rows, evidence.rows)
        if not isinstance(rows.inputs, Tensor) or not rows.inputs.is_floating_point():
            raise UndecidableError(
                f"{self.name}: needs inputs that are one tensor of real numbers; use "
                "'augmentation' for words and for inputs of several parts."
            )
        x = rows.inputs.flatten(1)
        search = _Search(Oracle(cast(nn.Module, evidence.target)), rows.inputs.shape[1:])
        scores = torch.zeros(len(rows), dtype=torch.float64)
        right = evidence.outputs.correct.nonzero().squeeze(1)
        at_once = max(1, _ELEMENTS // (x.shape[1] * self._estimates(max(self.steps, 1))))
        for block in torch.split(right, at_once):
            scores[block] = self._distance(search, x[block], rows.labels[block]).double().cpu()
        return scores

    def _distance(self, search: _Search, x: Tensor, labels: Tensor) -> Tensor:
        drawn = torch.randn(self.directions, x.shape[1], generator=self._source("direction"))
        nearest = search.along(x, labels, nn.functional.normalize(drawn, dim=1).to(x))
        distance: Tensor = (nearest - x).norm(dim=1)
        reached = torch.isfinite(distance).nonzero().squeeze(1)
        # A row without a boundary point gets the largest distance that was searched.
        distance = distance.nan_to_num(posinf=_least_length(x.shape[1]) * 2.0**_DOUBLINGS)
        near, x, labels = nearest[reached], x[reached], labels[reached]
        for step in range(self.steps):
            source = self._source("estimate", step)
            around = torch.randn(self._estimates(step), x.shape[1], generator=source).to(x)
            near = search.walked(x, labels, near, around=around, step=step)
            distance[reached] = torch.minimum(distance[reached], (near - x).norm(dim=1))
        return distance

    def _source(self, *names: str | int) -> torch.Generator:
        return generator(0, "attack", self.name, *names)


ATTACKS.add(
    "boundary",
    BoundaryAttack,
    summary="members lie farther from the boundary; asks for predicted classes alone",
    reference="Choquette-Choo et al., ICML 2021; Chen et al., S&P 2020",
    cost="at most 533 predictions a row",
)


class _Search:
    """Boundary search by queries for many rows in parallel, each row flattened to (width,)."""

    def __init__(self, oracle: Oracle, shape: torch.Size) -> None:
        self._oracle, self._shape = oracle, shape

    def changed(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return whether the predicted class differs from the label, bool (n,)."""
        return (self._oracle(x.reshape(-1, *self._shape)) != labels.cpu()).to(x.device)

    def along(self, x: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
        """Return each row's nearest boundary point over all directions, (n, width); inf if none.

        Args:
            x: the rows (n, width).
            labels: labels of the rows, int64 (n,).
            directions: directions of length 1, (k, width).
        """
        best = torch.full_like(x, torch.inf)
        shortest = torch.full((len(x),), torch.inf, device=x.device)
        for direction in directions:
            reach = torch.full((len(x),), torch.inf, device=x.device)
            active = torch.arange(len(x), device=x.device)
            length = _least_length(x.shape[1])
            for _ in range(_DOUBLINGS):
                # Beyond the best so far a direction has nothing to offer.
                active = active[shortest[active] > length]
                if not len(active):
                    break
                found = self.changed(x[active] + length * direction, labels[active])
                reach[active[found]] = length
                active = active[~found]
                length *= 2.0
            hit = torch.isfinite(reach).nonzero().squeeze(1)
            point = self.bisected(x[hit], labels[hit], x[hit] + reach[hit, None] * direction)
            distance = (point - x[hit]).norm(dim=1)
            closer = distance < shortest[hit]
            best[hit[closer]], shortest[hit[closer]] = point[closer], distance[closer]
        return best

    def bisected(self, x: Tensor, labels: Tensor, outside: Tensor) -> Tensor:
        """Return points just outside the class, where the lines from `x` to `outside` leave it.

        Args:
            x: the rows (n, width).
            labels: labels of the rows, int64 (n,).
            outside: points in another class, (n, width).
        """
        low, high = torch.zeros(len(x), 1).to(x), torch.ones(len(x), 1).to(x)
        for _ in range(_BISECTIONS if len(x) else 0):
            middle = (low + high) / 2
            changed = self.changed(x + middle * (outside - x), labels)[:, None]
            low, high = torch.where(changed, low, middle), torch.where(changed, middle, high)
        return x + high * (outside - x)

    def walked(
        self, x: Tensor, labels: Tensor, near: Tensor, *, around: Tensor, step: int
    ) -> Tensor:
        """Return the boundary points after one step along the normal and back towards the rows.

        Args:
            x: the rows (n, width).
            labels: labels of the rows, int64 (n,).
            near: their current boundary points (n, width).
            around: random directions (k, width) to estimate the boundary's normal with.
            step: number of the step, from 0.
        """
        if not len(x):
            return near
        distance = (near - x).norm(dim=1, keepdim=True)
        around = nn.functional.normalize(around, dim=1)
        reach = distance / math.sqrt(x.shape[1])
        queries = near[:, None] + reach[:, None] * around
        answers = self.changed(queries.flatten(0, 1), labels.repeat_interleave(len(around)))
        sign = 2.0 * answers.reshape(len(x), -1).to(x) - 1.0
        mean = sign.mean(dim=1, keepdim=True)
        # The mean is subtracted to reduce variance, unless all answers agree: then nothing is left.
        weight = torch.where(mean.abs() == 1.0, sign, sign - mean)
        normal = nn.functional.normalize(weight @ around, dim=1)
        length = distance / math.sqrt(step + 1)
        ahead, active = near.clone(), torch.arange(len(x), device=x.device)
        for _ in range(_STEP_HALVINGS):
            tried = near[active] + length[active] * normal[active]
            outside = self.changed(tried, labels[active])
            ahead[active[outside]] = tried[outside]
            active = active[~outside]
            if not len(active):
                break
            length = length / 2.0
        return self.bisected(x, labels, ahead)


def _least_length(width: int) -> float:
    """Return the first distance searched in a direction, for input values of about unit size."""
    return math.sqrt(width) / 256.0
