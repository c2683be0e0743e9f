"""Laws of a prior: one that knows nothing costs little, one that misleads is left, the true one
saves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.attacks.transfer import PriorRgf, Rgf, hunt_down
from safecompress.protocols import Ball

PATTERNS = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
BALL = Ball("l2", 0.9)
BUDGET = 600


def images(n, seed):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=draw)
    noise = 0.15 * torch.randn(n, 3, 8, 8, generator=draw)
    return (0.5 + 0.3 * (PATTERNS[labels] - 0.5) + noise).clamp(0, 1), labels


def fitted(seed):
    torch.manual_seed(seed)
    convolutions = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    convolutions += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, 3))
    x, labels = images(400, 2)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return model.eval()


class Anywhere(nn.Module):
    """Gradients that have nothing to do with anything."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(3, 3 * 8 * 8, generator=draw))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


@pytest.fixture(scope="module")
def target():
    return fitted(0)


@pytest.fixture(scope="module")
def rows(target):
    x, labels = images(120, 3)
    right = target(x).argmax(1) == labels
    return x[right][:40], labels[right][:40]


@pytest.fixture(scope="module")
def alone(target, rows):
    return hunt_down(Rgf(), target, *rows, ball=BALL, seed=0, budget=BUDGET)


def guided(target, rows, source):
    return hunt_down(PriorRgf(), target, *rows, ball=BALL, seed=0, budget=BUDGET, source=source)


def share(found):
    return float(found.solved.double().mean())


def mean(found):
    return float(found.queries_to_success.double().mean())


def test_a_prior_that_knows_nothing_costs_its_questions_and_no_more(target, rows, alone):
    found = guided(target, rows, Anywhere())
    assert share(found) >= share(alone) - 0.1
    # One question a step about the prior, and ten now and then about the gradient's length.
    assert mean(found) <= 1.5 * mean(alone)


def test_a_prior_that_leads_out_of_the_ball_is_left(target, rows, alone):
    found = guided(target, rows, fitted(7))
    assert share(found) >= share(alone) - 0.1
    assert mean(found) <= mean(alone)


def test_the_true_gradient_needs_far_fewer_questions(target, rows, alone):
    found = guided(target, rows, target)
    assert share(found) >= share(alone)
    assert 3 * mean(found) < mean(alone)
