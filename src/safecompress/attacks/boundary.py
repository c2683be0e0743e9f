"""Label-only by distance: members lie farther from the boundary of their class.

The model is asked for predicted classes alone, about all rows at once; a row whose answer is
settled is asked no more. Inputs are taken as real numbers whatever they mean: an attacker who can
send nothing but yes and no, or words, is left with `augmentation`.
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
"""Numbers asked about at once: 32 MB."""

_DOUBLINGS = 12
_BISECTIONS = 10
"""Halvings of a bracket: a distance is known to a thousandth of it."""

_STEP_HALVINGS = 8


@dataclass(frozen=True)
class BoundaryAttack(Attack):
    """Score = distance to the nearest point that is classified otherwise; 0 where the row is.

    The questions are the same for every row and every model, so that models are compared by them.
    `most_queries` says what a row costs at most.

    Args:
        directions: random directions the boundary is looked for in first.
        steps: steps of the decision attack along the boundary; 0 leaves the distance along the best
            of the random directions.
        estimates: queries for the first estimate of the boundary's normal; the t-th takes √t times
            as many.

    Raises:
        ConfigError: when an option is out of range.

    Reference: Choquette-Choo et al., ICML 2021, section 4.2, and Li & Zhang, CCS 2021, section 4;
    the decision attack is HopSkipJump, Chen, Jordan & Wainwright, S&P 2020, algorithm 2.
    """

    name: ClassVar[str] = "boundary"
    requires: ClassVar[frozenset[str]] = frozenset({"rows", "target"})
    label_only: ClassVar[bool] = True

    directions: int = 8
    steps: int = 5
    estimates: int = 32

    def __post_init__(self) -> None:
        require_at_least(self, directions=1, steps=0, estimates=2)

    @property
    def most_queries(self) -> int:
        """The most queries that a row costs."""
        start = self.directions * (_DOUBLINGS + _BISECTIONS)
        walk = sum(self._estimates(t) + _STEP_HALVINGS + _BISECTIONS for t in range(self.steps))
        return start + walk

    def _estimates(self, step: int) -> int:
        return int(self.estimates * math.sqrt(step + 1))

    @torch.no_grad()
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return the shortest distance found, float64 (n,), at least 0.

        Raises:
            UndecidableError: where inputs are not one tensor of real numbers.
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
        found = torch.isfinite(distance).nonzero().squeeze(1)
        # Where nothing was found, the class reaches as far as was looked.
        distance = distance.nan_to_num(posinf=_least_length(x.shape[1]) * 2.0**_DOUBLINGS)
        near, x, labels = nearest[found], x[found], labels[found]
        for step in range(self.steps):
            source = self._source("estimate", step)
            around = torch.randn(self._estimates(step), x.shape[1], generator=source).to(x)
            near = search.walked(x, labels, near, around=around, step=step)
            distance[found] = torch.minimum(distance[found], (near - x).norm(dim=1))
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
    """Questions to an oracle about many rows at once, each row flattened to (width,)."""

    def __init__(self, oracle: Oracle, shape: torch.Size) -> None:
        self._oracle, self._shape = oracle, shape

    def changed(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return whether the class is another than the label, bool (n,)."""
        return (self._oracle(x.reshape(-1, *self._shape)) != labels.cpu()).to(x.device)

    def along(self, x: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
        """Return the nearest boundary point in any of the directions (k, width); inf where none."""
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
        """Return the points just outside where the lines from `x` to `outside` leave the class."""
        low, high = torch.zeros(len(x), 1).to(x), torch.ones(len(x), 1).to(x)
        for _ in range(_BISECTIONS if len(x) else 0):
            middle = (low + high) / 2
            found = self.changed(x + middle * (outside - x), labels)[:, None]
            low, high = torch.where(found, low, middle), torch.where(found, middle, high)
        return x + high * (outside - x)

    def walked(
        self, x: Tensor, labels: Tensor, near: Tensor, *, around: Tensor, step: int
    ) -> Tensor:
        """Return boundary points one step on: along the estimated normal, and back towards x.

        Args:
            x: the rows (n, width).
            labels: of the rows.
            near: their boundary points.
            around: drawn directions (k, width) to estimate the normal with.
            step: number of the step, from 0.
        """
        if not len(x):
            return near
        distance = (near - x).norm(dim=1, keepdim=True)
        around = nn.functional.normalize(around, dim=1)
        reach = distance / math.sqrt(x.shape[1])
        asked = near[:, None] + reach[:, None] * around
        answers = self.changed(asked.flatten(0, 1), labels.repeat_interleave(len(around)))
        sign = 2.0 * answers.reshape(len(x), -1).to(x) - 1.0
        mean = sign.mean(dim=1, keepdim=True)
        # Where all answers agree, their mean says it all; else it is taken out as a baseline.
        weight = torch.where(mean.abs() == 1.0, sign, sign - mean)
        normal = nn.functional.normalize(weight @ around, dim=1)
        length = distance / math.sqrt(step + 1)
        ahead, active = near.clone(), torch.arange(len(x), device=x.device)
        for _ in range(_STEP_HALVINGS):
            tried = near[active] + length[active] * normal[active]
            found = self.changed(tried, labels[active])
            ahead[active[found]] = tried[found]
            active = active[~found]
            if not len(active):
                break
            length = length / 2.0
        return self.bisected(x, labels, ahead)


def _least_length(width: int) -> float:
    """Return the first distance that is looked at in a direction, for inputs of about unit size."""
    return math.sqrt(width) / 256.0
