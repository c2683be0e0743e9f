"""The solvers of the neural attack against scikit-learn and against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from safecompress.attacks.second_order import SeparationProblem, logistic, ridge
from safecompress.randomness import generator

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)


def problem(
    members: int, nonmembers: int, *, columns: int = 6, signal: float = 1.0, scale: float = 1.0
) -> SeparationProblem:
    source = generator(0, "second-order", members, nonmembers)
    sizes = torch.tensor([members, nonmembers])
    target = torch.tensor([1.0, -1.0]).double().repeat_interleave(sizes)
    x = torch.randn(members + nonmembers, columns, generator=source).double() + 0.7
    x[:, 0] += signal * target
    x *= scale
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    weight = (0.5 / sizes.double()).repeat_interleave(sizes)
    return SeparationProblem(torch.cat([x, ones], dim=1), target, weight)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_ridge_is_scikit_learn_s(penalty):
    design, target, weight = given = problem(60, 25)
    found = ridge(given, penalties=(penalty,)).weights.numpy()
    theirs = Ridge(alpha=penalty).fit(design[:, :-1].numpy(), target.numpy(), weight.numpy())
    np.testing.assert_allclose(found[:-1], theirs.coef_, rtol=1e-8)
    assert found[-1] == pytest.approx(theirs.intercept_, rel=1e-8)


@pytest.mark.parametrize(("signal", "expected"), [(0.0, 1.0), (0.7, 0.01), (2.0, 0.01)])
def test_the_penalty_is_the_one_of_the_least_generalized_cross_validation_error(signal, expected):
    design, target, _ = given = problem(30, 30, columns=20, signal=signal, scale=0.1)
    x, y = design[:, :-1].numpy(), target.numpy()
    centered, errors = x - x.mean(axis=0), []
    for penalty in PENALTIES:
        inner = centered.T @ centered / 60 + penalty * np.eye(20)
        hat = centered @ np.linalg.solve(inner, centered.T) / 60 + 1 / 60
        errors.append(np.mean((y - hat @ y) ** 2) / (1 - np.trace(hat) / 60) ** 2)
    found = ridge(given, penalties=PENALTIES).penalty
    assert found == PENALTIES[int(np.argmin(errors))] == expected


def test_two_rows_are_fitted_with_the_strongest_penalty():
    found = ridge(problem(1, 1), penalties=PENALTIES)
    assert found.penalty == PENALTIES[0]
    assert bool(torch.isfinite(found.weights).all())


@pytest.mark.parametrize("penalty", [0.1, 1e-3])
def test_enough_newton_steps_reach_scikit_learn_s_optimum(penalty):
    design, target, weight = given = problem(70, 30)
    found = logistic(given, torch.zeros(7).double(), penalty=penalty, steps=30).numpy()
    theirs = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=1000)
    theirs.fit(design[:, :-1].numpy(), target.numpy(), weight.numpy())
    np.testing.assert_allclose(found[:-1], theirs.coef_[0], rtol=1e-5, atol=1e-7)
    assert found[-1] == pytest.approx(theirs.intercept_[0], rel=1e-5)


def test_a_step_that_does_harm_is_undone():
    given = problem(50, 50)
    # So far out every row is certain and half of them wrongly: the curvature there is no guide.
    start = torch.zeros(7).double()
    start[1] = 60.0
    taken = logistic(given, start, penalty=1e-4, steps=1)
    losses = [penalized(given, w, 1e-4) for w in (start, taken)]
    assert losses[1] <= losses[0]
    assert torch.equal(logistic(given, start, penalty=1e-4, steps=0), start)


def test_rows_that_can_be_told_apart_perfectly_have_a_finite_answer():
    given = problem(40, 40, signal=50.0)
    start = 2.0 * ridge(given, penalties=PENALTIES).weights
    found = logistic(given, start, penalty=1e-4, steps=20)
    assert bool(torch.isfinite(found).all())
    assert bool(((given.design @ found) * given.target > 0).all())


def penalized(given: SeparationProblem, weights: torch.Tensor, penalty: float) -> float:
    margin = given.target * (given.design @ weights)
    loss = given.weight @ torch.nn.functional.softplus(-margin)
    return float(loss + penalty / 2 * weights[:-1].square().sum())
