"""`Quadratic`: a logistic regression on numbers, their squares and their products, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from safecompress.attacks.second_order import SeparationProblem, logistic

_CLIP = 5.0
"""Standardized numbers are clamped at this value, so that an outlier cannot dominate the fit."""
_RIDGE = 3.0
"""Penalty on the weights of standardized columns, in rows."""
_START_ROWS = 8000
"""Number of rows whose solution the fit to all rows starts from; most steps cost only them."""
_STEPS, _LAST_STEPS = 12, 2
"""Most Newton steps on these rows, and then on all. Close to the solution a step squares the
error."""


@dataclass(frozen=True)
class Standard:
    """Standardizes columns by their mean and standard deviation over the rows of the fit.

    Args:
        mean: float64 (columns,).
        scale: float64 (columns,), > 0.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> Self:
        """Return what standardizes given columns, float64 (n, columns)."""
        scale = raw.std(dim=0, correction=0)
        # A constant column carries no information; dividing it by 1 keeps it at zero.
        return cls(raw.mean(dim=0), torch.where(scale > 1e-12, scale, 1.0))

    def __call__(self, raw: Tensor) -> Tensor:
        return (raw - self.mean) / self.scale


@dataclass(frozen=True)
class Quadratic:
    """The fitted regression, which maps rows of numbers to the log-odds of the first group.

    Args:
        numbers: standardizes the numbers.
        terms: standardizes the numbers and their products.
        weights: float64 (terms + 1,), the last one of the constant.
        products: int64 (2, products), which two numbers each product is of.
    """

    numbers: Standard
    terms: Standard
    weights: Tensor
    products: Tensor

    @classmethod
    def fitted(
        cls, raw: Tensor, first: Tensor, weight: Tensor, *, products: Tensor | None = None
    ) -> Quadratic:
        """Return the regression that tells rows of the first group from the others.

        Both groups have the same total weight, whatever their sizes.

        Args:
            raw: float64 (n, numbers), the rows; their first ones should be drawn at random.
            first: bool (n,), the rows of the first group; both groups must have rows.
            weight: float64 (n,), > 0, weights of the rows relative to others of their group.
            products: int64 (2, products), which two numbers each product is of; None takes all
                squares and all products of two.
        """
        numbers = Standard.of(raw)
        if products is None:
            products = torch.triu_indices(raw.shape[1], raw.shape[1])
        columns = _columns(numbers(raw), products)
        terms = Standard.of(columns)
        design = _with_constant(terms(columns))
        weights = torch.zeros(design.shape[1], dtype=torch.float64)
        stages = [(_START_ROWS, _STEPS), (len(raw), _LAST_STEPS)]
        for rows, steps in stages if len(raw) > _START_ROWS else stages[:1]:
            problem = _problem(design[:rows], first[:rows], weight[:rows])
            if problem is not None:
                penalty = _RIDGE / len(problem.target)
                weights = logistic(problem, weights, penalty=penalty, steps=steps)
        return cls(numbers, terms, weights, products)

    def __call__(self, raw: Tensor) -> Tensor:
        """Return the log-odds of the first group, float64 (n,).

        Args:
            raw: float64 (n, numbers).
        """
        columns = _columns(self.numbers(raw), self.products)
        return _with_constant(self.terms(columns)) @ self.weights


def _columns(standardized: Tensor, products: Tensor) -> Tensor:
    """Return clipped numbers and their products."""
    z = standardized.clamp(-_CLIP, _CLIP)
    one, other = products
    return torch.cat([z, z[:, one] * z[:, other]], dim=1)


def _with_constant(columns: Tensor) -> Tensor:
    return torch.cat([columns, columns.new_ones(len(columns), 1)], dim=1)


def _problem(design: Tensor, first: Tensor, weight: Tensor) -> SeparationProblem | None:
    """Return the rows with equal weight of both groups; None if one of them is empty."""
    if bool(first.all()) or not bool(first.any()):
        return None
    share = torch.where(first, weight / weight[first].sum(), weight / weight[~first].sum()) / 2
    return SeparationProblem(design, torch.where(first, 1.0, -1.0).double(), share)
