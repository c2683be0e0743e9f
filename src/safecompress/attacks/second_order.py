"""`ridge` and `logistic` regression by linear algebra, to solve for the last layer of a network.

Sums over rows are computed in the precision of the rows, linear systems are solved in float64. The
last column of a design is the constant 1, and its weight is not penalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

_LEAST_SPARE = 0.1
"""Least fraction of the rows that must remain as degrees of freedom for a penalty to be chosen."""

_SMALLEST_CURVATURE = 1e-3
"""Least curvature of a row's loss relative to its weight; keeps steps finite at saturation."""


class SeparationProblem(NamedTuple):
    """Rows of two groups that a linear function is to separate.

    Args:
        design: float (n, k), the last column 1.
        target: float (n,), +1 for rows of one group and -1 for the other.
        weight: float (n,), adding up to one half in each group.
    """

    design: Tensor
    target: Tensor
    weight: Tensor


class Ridge(NamedTuple):
    """A solved ridge regression.

    Args:
        weights: float64 (k,).
        penalty: the penalty, of those given, with the least cross-validation error.
    """

    weights: Tensor
    penalty: float


def ridge(problem: SeparationProblem, *, penalties: Sequence[float]) -> Ridge:
    """Return the least-squares fit of the target, its penalty chosen by cross-validation.

    Args:
        problem: the rows to separate.
        penalties: candidates, each > 0; the first is taken when all have the same error.

    Reference: generalized cross-validation, Golub, Heath & Wahba, Technometrics 1979.
    """
    design, target, weight = problem
    weighted = design * weight[:, None]
    gram = (weighted.T @ design).double()
    mean, moment = gram[-1, :-1], (target @ weighted).double()[:-1]
    values, vectors = torch.linalg.eigh(gram[:-1, :-1] - torch.outer(mean, mean))
    values = values.clamp_(min=0.0)
    turned = moment @ vectors
    shrunk = 1.0 / (values + torch.tensor(penalties, dtype=torch.float64)[:, None])
    kept = values * shrunk
    # `SeparationProblem` fixes the target's weighted mean at 0 and its mean square at 1.
    left = 1.0 - ((2.0 - kept) * shrunk) @ turned.square()
    rows = 1.0 / float(weight.square().sum())
    spare = 1.0 - (1.0 + kept.sum(dim=1)) / rows
    # With almost as many parameters as rows the fit is exact and its error meaningless.
    error = torch.where(spare > _LEAST_SPARE, left / spare.square(), torch.inf)
    best = int(error.argmin())
    weights = vectors @ (shrunk[best] * turned)
    return Ridge(torch.cat([weights, -(mean @ weights)[None]]), penalties[best])


def logistic(problem: SeparationProblem, start: Tensor, *, penalty: float, steps: int) -> Tensor:
    """Return weights after Newton steps on the penalized logistic loss.

    The steps end at the first one that does not lower the loss, and that step is undone.

    Args:
        problem: the rows to separate.
        start: initial weights, float64 (k,).
        penalty: λ in the penalty λ/2 · ‖weights‖², at least 0.
        steps: largest number of steps, at least 0.

    Returns:
        float64 (k,), with a loss no higher than that of `start`.
    """
    design, target, weight = problem
    shrink = torch.full_like(start, penalty)
    shrink[-1] = 0.0
    best, smallest, current = start, float("inf"), start
    for step in range(steps + 1):
        margin = target * (design @ current.to(design.dtype))
        loss = float(weight @ softplus(-margin)) + float(shrink @ current.square()) / 2
        if not loss < smallest:
            break
        best, smallest = current, loss
        if step < steps:
            wrong = torch.sigmoid(-margin)
            row_curvature = weight * (wrong * (1.0 - wrong)).clamp_(min=_SMALLEST_CURVATURE)
            gradient = shrink * current - ((weight * wrong * target) @ design).double()
            curvature = ((design * row_curvature[:, None]).T @ design).double()
            curvature.diagonal().add_(shrink)
            current = current - torch.linalg.solve(curvature, gradient)
    return best
