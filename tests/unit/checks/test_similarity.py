"""How alike two models are: known answers, edges, and intervals that hold what they should."""

from __future__ import annotations

import copy
from math import log

import numpy as np
import pytest
import torch
from torch import nn

from safecompress.checks.similarity import (
    Probe,
    gradient_cosines,
    jensen_shannon,
    linear_cka,
    similarity,
)
from safecompress.errors import ModelError, UndecidableError
from safecompress.stats import bootstrap_interval, jackknife_interval


def mlp(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4))


X = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(80) % 4


def test_a_model_is_like_itself():
    model = mlp(0)
    found = similarity(model, copy.deepcopy(model), X, LABELS, level=0.95, seed=0)
    assert found.agreement.value == 1
    assert found.agreement.low < 1
    assert found.divergence.high == pytest.approx(0, abs=1e-12)
    assert found.features.value == pytest.approx(1)
    assert found.gradients.value == pytest.approx(1)
    assert found.rows == 80


def test_strangers_are_less_alike_than_relatives():
    model = mlp(0)
    relative = copy.deepcopy(model)
    with torch.no_grad():
        for p in relative.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    near = similarity(model, relative, X, LABELS, level=0.95, seed=0)
    far = similarity(model, mlp(5), X, LABELS, level=0.95, seed=0)
    assert near.agreement.low > far.agreement.high
    assert near.divergence.high < far.divergence.low
    assert near.features.value > far.features.value
    assert near.gradients.low > far.gradients.high


def test_divergence_is_that_of_two_distributions():
    sure, other = torch.tensor([[50.0, 0, 0]]), torch.tensor([[0.0, 50, 0]])
    assert float(jensen_shannon(sure, other)) == pytest.approx(log(2))
    assert float(jensen_shannon(sure, sure)) == 0
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.1, 0.8])
    middle = (p + q) / 2
    wanted = ((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    logits = [torch.tensor(v).log()[None] for v in (p, q)]
    assert float(jensen_shannon(*logits)) == pytest.approx(wanted)


def test_cosines_survive_the_gradients_of_a_sure_model():
    tiny = torch.full((2, 3), 1e-40)
    assert gradient_cosines(tiny, -tiny).tolist() == pytest.approx([-1, -1])
    assert gradient_cosines(tiny, torch.zeros(2, 3)).tolist() == [0, 0]


def test_cka_ignores_rotation_and_scale_and_matches_the_definition():
    draw = torch.Generator().manual_seed(2)
    x, y = torch.randn(40, 5, generator=draw), torch.randn(40, 7, generator=draw)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=draw))
    assert linear_cka(x, 3 * x @ turn + 1, level=0.95).value == pytest.approx(1)
    center = torch.eye(40, dtype=torch.float64) - 1 / 40
    k, m = (center @ t.double() @ t.double().T @ center for t in (x, y))
    wanted = float((k * m).sum() / (k.norm() * m.norm()))
    found = linear_cka(x, y, level=0.95)
    assert found.value == pytest.approx(wanted)
    without = [
        linear_cka(x[torch.arange(40) != i], y[torch.arange(40) != i], level=0.95).value
        for i in range(40)
    ]
    slow = jackknife_interval(wanted, without, level=0.95, edges=(0, 1))
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high))
    with pytest.raises(UndecidableError, match="same for all rows"):
        linear_cka(x, torch.ones(40, 2), level=0.95)


@pytest.mark.parametrize("kind", ["bootstrap", "jackknife"])
def test_intervals_of_a_mean_cover_it(kind):
    missed = 0
    for seed in range(200):
        values = np.random.default_rng(seed).exponential(size=60)
        if kind == "bootstrap":
            found = bootstrap_interval(lambda v: v.mean((1, 2)), values, level=0.9, seed=seed)
        else:
            without = (values.sum() - values) / (len(values) - 1)
            found = jackknife_interval(values.mean(), without, level=0.9)
        assert found.low <= found.value <= found.high
        missed += not found.low <= 1 <= found.high
    # 10 % are meant to; a skewed sample of 60 loses some percent more.
    assert 8 <= missed <= 38


def test_models_are_left_as_they_were_and_strange_pairs_refused():
    model = mlp(0).train()
    before = copy.deepcopy(model.state_dict())
    shown = Probe.by(model, X, LABELS, batch_size=7)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert shown.gradients.shape == X.shape
    with pytest.raises(ModelError, match="same classes"):
        similarity(model, nn.Linear(6, 3), X, LABELS % 3, level=0.95, seed=0)
    with pytest.raises(UndecidableError, match="2 rows"):
        similarity(model, model, X[:2], LABELS[:2], level=0.95, seed=0)

    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp(1)

        def forward(self, x):
            return self.inner(x.detach())

    with pytest.raises(ModelError, match="no gradient reaches its input"):
        Probe.by(Deaf(), X, LABELS)
