"""P-RGF against a table worked out by hand: λ*, the projector, α and the estimate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from safecompress.attacks.oracle import Oracle
from safecompress.attacks.transfer import Aim, PriorRgf, QueryTask, hunt_down
from safecompress.attacks.transfer.directions import (
    biased,
    cosine,
    estimate,
    gradient_norm,
    optimal_weight,
    rms_one,
    slopes,
)
from safecompress.errors import NonFiniteError
from safecompress.protocols import Ball

SQUARES = [
    # D = 4, q = 2: D + 2q − 2 = 6, so λ* is 0 up to α² = 1/6 and 1 from α² = 3/6 on.
    (4, 2, 0.0, 0.0),
    (4, 2, 1 / 6, 0.0),
    (4, 2, 1 / 4, 0.25),  # ¾ · ½ / (4 − 1.5 − 1)
    (4, 2, 1 / 3, 0.4),  # ⅔ · 1 / (16/3 − 8/3 − 1)
    (4, 2, 2 / 5, 0.84 / 1.56),  # 0.6 · 1.4 / (6.4 − 3.84 − 1)
    (4, 2, 1 / 2, 1.0),
    (4, 2, 1.0, 1.0),
    # D = 100, q = 10: from 1/118 to 19/118; 0.96 · 3.72 / (80 − 18.88 − 1) between.
    (100, 10, 1 / 118, 0.0),
    (100, 10, 0.04, 3.5712 / 60.12),
    (100, 10, 19 / 118, 1.0),
]

WEIGHTS = torch.tensor([3.0, 1.0, 0.0, 0.0])
PRIOR = torch.ones(1, 4)
AROUND = torch.tensor([[2.0, 0, 0, 0], [0, 2.0, 0, 0]])
EXACT = 2.0**-10


class Linear(nn.Module):
    """Margin of class 1 over class 0 = 3 x₀ + x₁ − 100: never fooled inside the range."""

    def forward(self, x):
        value = x @ WEIGHTS.to(x) - 100
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Stepped(nn.Module):
    """The same in steps of ⅛, as a quantized model answers."""

    def forward(self, x):
        return (8 * Linear()(x)).floor() / 8


def hunt(model=None, *, budget=100):
    x = torch.full((1, 4), 0.5)
    oracle = Oracle(model or Linear(), rows=1, budget=budget)
    return QueryTask(oracle, x, Aim(torch.tensor([0]), loss="margin"), Ball("l2", 0.5)), oracle


@pytest.mark.parametrize(("dimension", "samples", "square", "weight"), SQUARES)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_weight_of_the_prior(dimension, samples, square, weight, sign):
    alpha = torch.tensor([sign * math.sqrt(square)], dtype=torch.float64)
    found = optimal_weight(alpha, dimension=dimension, samples=samples)
    # At the edges the root's square may fall on either side of them.
    assert float(found) == pytest.approx(weight, abs=1e-7)


def test_directions_lean_to_the_prior():
    # λ = 0: what is left of (2, 0, 0, 0) beside (1, 1, 1, 1) is (3, −1, −1, −1) / 2, to RMS 1.
    beside = biased(PRIOR, AROUND, torch.tensor([0.0]))
    third = 1 / math.sqrt(3)
    wanted = torch.tensor([[3, -1, -1, -1], [-1, 3, -1, -1.0]]) * third
    assert torch.allclose(beside[0], wanted, atol=1e-6)
    assert torch.allclose(beside[0] @ PRIOR[0], torch.zeros(2), atol=1e-6)
    # λ = ¼: ½ (1, 1, 1, 1) + √¾ (3, −1, −1, −1) / √3 = (2, 0, 0, 0) again.
    assert torch.allclose(biased(PRIOR, AROUND, torch.tensor([0.25]))[0], AROUND, atol=1e-6)
    assert torch.allclose(biased(PRIOR, AROUND, torch.tensor([1.0]))[0], torch.ones(2, 4))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_directions_have_the_length_root_d(weight):
    draw = torch.Generator().manual_seed(0)
    prior = rms_one(torch.randn(3, 2, 5, 5, generator=draw))
    made = biased(prior, torch.randn(4, 2, 5, 5, generator=draw), torch.full((3,), weight))
    assert made.shape == (3, 4, 2, 5, 5)
    assert torch.allclose(made.flatten(2).norm(dim=2), torch.full((3, 4), math.sqrt(50)))


def test_slopes_cosine_and_estimate():
    h, oracle = hunt()
    rows, sigma = torch.tensor([0]), torch.tensor([EXACT])
    here = torch.tensor([2.0 - 100])
    u = biased(PRIOR, AROUND, torch.tensor([0.25]))
    slope = slopes(h, rows, h.x, u, here=here, sigma=sigma)
    assert slope.tolist() == [[pytest.approx(6, abs=1e-2), pytest.approx(2, abs=1e-2)]]
    # ½ (6 · (2, 0, 0, 0) + 2 · (0, 2, 0, 0)).
    assert torch.allclose(estimate(slope, u), torch.tensor([[6.0, 2, 0, 0]]), atol=2e-2)
    along = slopes(h, rows, h.x, PRIOR[:, None], here=here, sigma=sigma).squeeze(1)
    # (3 + 1) / (2 √10): its square is 0.4, so λ* is the table's 0.84 / 1.56.
    alpha = cosine(along, torch.tensor([math.sqrt(10)]), 4)
    assert float(alpha) == pytest.approx(4 / (2 * math.sqrt(10)), abs=1e-2)
    assert float(optimal_weight(alpha, dimension=4, samples=2)) == pytest.approx(0.538, abs=2e-2)
    assert int(oracle.asked) == 3


def test_a_gradients_length_from_random_directions():
    draw = torch.Generator().manual_seed(1)
    u = rms_one(torch.randn(20_000, 4, generator=draw))
    slope = (u @ WEIGHTS)[None]
    assert float(gradient_norm(slope)) == pytest.approx(math.sqrt(10), rel=0.02)
    assert float(cosine(torch.tensor([1.0]), torch.tensor([0.0]), 4)) == 0


def test_sigma_doubles_while_a_quantized_model_says_the_same():
    h, oracle = hunt(Stepped())
    sigma = torch.tensor([1e-4])
    start = float(8 * (2 - 100)) // 1 / 8
    slope = slopes(
        h,
        torch.tensor([0]),
        h.x,
        torch.tensor([[[2.0, 0, 0, 0]]]),
        here=torch.tensor([start]),
        sigma=sigma,
    )
    # 3 · 2σ first reaches ⅛ at σ = 256 · 10⁻⁴, after eight doublings: nine questions.
    assert float(sigma) == pytest.approx(256e-4)
    assert float(slope) == pytest.approx(0.125 / 256e-4)
    assert int(oracle.asked) == 9


def test_a_row_that_cannot_pay_for_an_estimate_is_closed():
    h, oracle = hunt(budget=1)
    slope = slopes(
        h,
        torch.tensor([0]),
        h.x,
        AROUND[None],
        here=torch.tensor([-98.0]),
        sigma=torch.tensor([EXACT]),
    )
    assert slope.tolist() == [[0.0, 0.0]]
    assert len(h.open) == 0
    assert int(oracle.asked) == 0


class DeadSource(nn.Module):
    """Says the same of everything: its gradient is zero, or NaN where `broken`."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.broken = broken

    def forward(self, x):
        flat = x.flatten(1)
        nothing = flat[:, :3] * 0.0
        # The root's slope at zero is infinite, and nothing times it is not a number.
        return nothing + (nothing.square().sum(dim=1, keepdim=True).sqrt() if self.broken else 0)


def hunted(source):
    torch.manual_seed(0)
    target = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    x = torch.rand(6, 3, 2, 2)
    labels = target(x).argmax(dim=1)
    attack = PriorRgf(samples=4)
    return hunt_down(
        attack, target, x, labels, ball=Ball("l2", 1.0), seed=0, source=source, budget=120
    )


def test_a_source_that_says_nothing_leaves_the_search_to_chance():
    found = hunted(DeadSource())
    assert torch.isfinite(found.points).all()
    assert bool(found.solved.any())
    assert bool((found.asked <= 120).all())


def test_a_source_whose_gradients_are_nan_is_refused():
    with pytest.raises(NonFiniteError, match="6 of 6 rows are NaN or infinite"):
        hunted(DeadSource(broken=True))
