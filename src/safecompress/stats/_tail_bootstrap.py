"""`tpr_differences`: resampled differences of two models' TPR at a low FPR.

Only rows near the threshold of either model move such a figure. A resample draws these rows, and
of all others no more than how many fall into each of a few coarse ranks, which is what drawing them
one by one would give. So its cost grows with the rate and not with the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safecompress.stats._curve import Curve, coarsened
from safecompress.stats._inputs import Floats, Ints, counter_based

_STEPS = 16
"""Coarse ranks of a model's other rows. An edge of the upper envelope that reaches this far hardly
turns by one of their steps."""


@dataclass(frozen=True)
class _Side:
    """Members or non-members, as what a resample draws from.

    Args:
        rows: number of rows.
        tail: int64 (2, k), ranks by both models of the rows near the threshold of either.
        body: int64 (2, c), the other rows' pairs of coarse ranks, each once.
        shares: float64 (c,), share of the other rows that has each pair.
        sizes: by model, number of ranks.
    """

    rows: int
    tail: Ints
    body: Ints
    shares: Floats
    sizes: tuple[int, int]

    @classmethod
    def of(cls, a: Ints, b: Ints, sizes: tuple[int, int]) -> _Side:
        """Return one side of two models from the ranks of its rows."""
        ranks = np.stack([a, b]).astype(np.int64)
        near = (ranks > _STEPS).any(axis=0)
        body, counts = np.unique(ranks[:, ~near], axis=1, return_counts=True)
        shares = counts / max(1, int(counts.sum()))
        return cls(len(a), ranks[:, near], body, shares, sizes)

    def resampled(self, random: np.random.Generator) -> tuple[Ints, Ints]:
        """Return how many rows of a resample have each rank, by the first and the second model."""
        near = int(random.binomial(self.rows, self.tail.shape[1] / self.rows))
        drawn = self.tail[:, random.integers(0, max(1, self.tail.shape[1]), near)]
        others = random.multinomial(self.rows - near, self.shares)
        first, second = (
            np.bincount(drawn[i], minlength=self.sizes[i])
            + np.bincount(self.body[i], weights=others, minlength=self.sizes[i]).astype(np.int64)
            for i in (0, 1)
        )
        return first, second


def tpr_differences(
    a: tuple[Floats, ...], b: tuple[Floats, ...], *, fpr: float, count: int, seed: int
) -> Floats:
    """Return the difference of two models' TPR at a fixed FPR on resamples, float64 (count,).

    Args:
        a: scores of the first model, members (m,) and non-members (n,), float64 without NaN.
        b: scores of the second model on the same rows.
        fpr: the rate, in (0, 1).
        count: number of resamples; members and non-members are drawn independently, and the same
            rows of both models.
        seed: seed of the draws.
    """
    random = counter_based(seed)
    ranks = [coarsened(*scores, fpr=fpr, steps=_STEPS) for scores in (a, b)]
    first, second = (1 + max(int(side.max()) for side in model) for model in ranks)
    members, nonmembers = (
        _Side.of(of_a, of_b, (first, second)) for of_a, of_b in zip(*ranks, strict=True)
    )
    found = np.empty((count, 2))
    for i in range(count):
        for model, counts in enumerate(
            zip(members.resampled(random), nonmembers.resampled(random), strict=True)
        ):
            found[i, model] = Curve.of_counts(*counts).envelope(fpr * nonmembers.rows)[0]
    return np.asarray((found[:, 0] - found[:, 1]) / members.rows)
