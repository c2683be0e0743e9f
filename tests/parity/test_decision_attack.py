"""The batched boundary search against the published decision attack, one row after another."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from safecompress.attacks.boundary import BoundaryAttack
from safecompress.protocols import Evidence, Rows
from safecompress.randomness import generator
from safecompress.train.predict import predict

WIDTH, STEPS, ESTIMATES = 16, 8, 60


def curved_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(WIDTH, 48), nn.Tanh(), nn.Linear(48, 4)).eval()


def hop_skip_jump(model: nn.Module, x: torch.Tensor, label: int, *, seed: int) -> float:
    """Return the L2 distance that algorithm 2 of Chen, Jordan & Wainwright (2020) finds."""
    draw = generator(seed, "literal")

    def adversarial(point: torch.Tensor) -> bool:
        with torch.no_grad():
            return int(model(point[None]).argmax()) != label

    def to_the_boundary(point: torch.Tensor) -> torch.Tensor:
        low, high = 0.0, 1.0
        while high - low > 1e-3:
            middle = (low + high) / 2
            if adversarial((1 - middle) * x + middle * point):
                high = middle
            else:
                low = middle
        return (1 - high) * x + high * point

    starts = []
    while len(starts) < 8:
        point = x + 4 * torch.randn(WIDTH, generator=draw)
        if adversarial(point):
            starts.append(to_the_boundary(point))
    current = min(starts, key=lambda p: float((p - x).norm()))
    best = float((current - x).norm())
    for t in range(1, STEPS + 1):
        delta = float((current - x).norm()) / math.sqrt(WIDTH)
        directions = torch.randn(int(ESTIMATES * math.sqrt(t)), WIDTH, generator=draw)
        directions /= directions.norm(dim=1, keepdim=True)
        phi = torch.tensor([1.0 if adversarial(current + delta * u) else -1.0 for u in directions])
        weight = phi if abs(float(phi.mean())) == 1 else phi - phi.mean()
        normal = (weight[:, None] * directions).mean(dim=0)
        normal /= normal.norm()
        step = float((current - x).norm()) / math.sqrt(t)
        while step > 1e-6 and not adversarial(current + step * normal):
            step /= 2
        current = to_the_boundary(current + step * normal)
        best = min(best, float((current - x).norm()))
    return best


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_are_those_of_the_published_attack(seed):
    model = curved_model()
    x = torch.randn(40, WIDTH, generator=generator(seed, "rows"))
    ids = torch.arange(40)
    labels = predict(model, Rows(x, ids * 0, ids)).logits.argmax(dim=1)
    rows = Rows(x, labels, ids)
    evidence = Evidence(predict(model, rows), rows=rows, target=model)
    ours = BoundaryAttack(directions=8, steps=STEPS, estimates=ESTIMATES).score(None, evidence)
    theirs = torch.tensor(
        [hop_skip_jump(model, x[i], int(labels[i]), seed=seed * 100 + i) for i in range(40)]
    ).double()
    # Two runs of the published attack with other draws differ as much.
    assert 0.95 < float((ours / theirs).median()) < 1.05
    assert spearmanr(ours, theirs).statistic > 0.95
