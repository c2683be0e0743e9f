"""Ridge and logistic regression by linear algebra: the last layer of a network, solved.

What is summed over rows is summed in the rows' own precision; what is solved is solved in float64.
The last column of a design is the constant 1, and its weight is not penalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

_LEAST_SPARE = 0.1
"""Share of the rows that a fit must leave over to be chosen."""

_SMALLEST_CURVATURE = 1e-3
"""Of a row, relative to its weight; keeps a step finite where every row is certain."""


class SeparationProblem(NamedTuple):
    """Rows of two kinds that a linear function is to tell apart.

    Args:
        design: float (n, k), the last column 1.
        target: (n,), each +1 or -1.
        weight: (n,), each kind's adding up to one half.
    """

    design: Tensor
    target: Tensor
    weight: Tensor


class Ridge(NamedTuple):
    """A solved ridge regression.

    Args:
        weights: float64 (k,).
        penalty: the one of those offered that generalizes best.
    """

    weights: Tensor
    penalty: float


def ridge(problem: SeparationProblem, *, penalties: Sequence[float]) -> Ridge:
    """Return the least-squares fit of the target, its penalty chosen on the same rows.

    Args:
        problem: the rows.
        penalties: positive, to choose from; the first is taken where none can be told from another.

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
    # The targets' weighted mean is 0 and their square 1: both follow from `SeparationProblem`.
    left = 1.0 - ((2.0 - kept) * shrunk) @ turned.square()
    rows = 1.0 / float(weight.square().sum())
    spare = 1.0 - (1.0 + kept.sum(dim=1)) / rows
    # A fit with almost as many degrees of freedom as rows has no errors, and means nothing.
    error = torch.where(spare > _LEAST_SPARE, left / spare.square(), torch.inf)
    best = int(error.argmin())
    weights = vectors @ (shrunk[best] * turned)
    return Ridge(torch.cat([weights, -(mean @ weights)[None]]), penalties[best])


def logistic(problem: SeparationProblem, start: Tensor, *, penalty: float, steps: int) -> Tensor:
    """Return weights after Newton steps on the logistic loss; a step that does harm is undone.

    Args:
        problem: the rows.
        start: float64 (k,).
        penalty: half of it times the squared weights is added to the loss.
        steps: most steps.

    Returns:
        float64 (k,), at least as good as `start`.
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
            bend = weight * (wrong * (1.0 - wrong)).clamp_(min=_SMALLEST_CURVATURE)
            gradient = shrink * current - ((weight * wrong * target) @ design).double()
            curvature = ((design * bend[:, None]).T @ design).double()
            curvature.diagonal().add_(shrink)
            current = current - torch.linalg.solve(curvature, gradient)
    return best
