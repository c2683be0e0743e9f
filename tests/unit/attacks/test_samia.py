"""SAMIA: its network has the published size, and sensitivities are what the model does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from safecompress.attacks.perturbations import Perturbations
from safecompress.attacks.samia import SamiaAttack, SamiaNetwork
from safecompress.errors import ConfigError
from safecompress.protocols import Evidence, Pool, Rows
from safecompress.randomness import generator
from safecompress.train.predict import predict


def evidence(n: int = 12, *, scale: float = 1.0, seed: int = 0) -> Evidence:
    draw = generator(seed, "samia")
    rows = Rows(
        scale * torch.randn(n, 5, generator=draw),
        torch.randint(3, (n,), generator=draw),
        torch.arange(n),
    )
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight.copy_(torch.randn(3, 5, generator=draw))
        model.bias.zero_()
    return Evidence(predict(model, rows), rows=rows, target=model)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_network_has_as_many_parameters_as_the_published_one(classes):
    attention = 4 * (64 * 64 + 64)
    forward = 64 * 128 + 128 + 128 * 64 + 64
    layer = attention + forward + 2 * 2 * 64
    rest = 2 * 3 * classes + (3 * 64 + 64) + (64 * classes * 64 + 64)
    # Two outputs there, whose difference is the one here.
    expected = 3 * layer + rest + 65
    assert sum(p.numel() for p in SamiaNetwork(classes).parameters()) == expected


def test_every_class_is_looked_at_together_with_its_sensitivity_and_the_truth():
    network = SamiaNetwork(4).eval()
    draw = generator(1, "samia")
    inputs = [torch.rand(6, 4, generator=draw) for _ in range(2)]
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    base = network(*inputs, labels)
    for place in range(2):
        for column in range(4):
            changed = [t.clone() for t in inputs]
            changed[place][:, column] += 0.5
            assert not torch.allclose(network(*changed, labels), base)
    assert not torch.allclose(network(*inputs, (labels + 1) % 4), base)


@pytest.mark.parametrize("copies", [1, 5])
def test_a_sensitivity_is_the_mean_absolute_change_of_a_probability(copies):
    attack, given = SamiaAttack(copies=copies), evidence()
    changes = Perturbations.like(given.rows.inputs, seed=4)
    said, moved, labels = attack.columns(given, changes)
    assert torch.equal(labels, given.rows.labels)
    for i in range(len(given.outputs)):
        x = given.rows.inputs[i : i + 1]
        p = given.target(x).softmax(1)[0]
        assert said[i].tolist() == pytest.approx(p.tolist(), abs=1e-6)
        total = torch.zeros(3)
        for copy in range(copies):
            total += (given.target(changes(x, level=0, copy=copy)).softmax(1)[0] - p).abs()
        assert moved[i].exp().tolist() == pytest.approx((total / copies).tolist(), abs=1e-6)
        assert float(moved[i].max()) > math.log(1e-4)


def test_the_strength_of_the_changes_is_that_of_the_known_nonmembers():
    attack = SamiaAttack()
    given = evidence()
    small, large = (
        attack.reader(Pool(given, evidence(scale=scale)), seed=0)(given)[1].exp().mean()
        for scale in (1.0, 4.0)
    )
    assert large > 2 * small


@pytest.mark.parametrize(
    ("options", "message"), [({"copies": 0}, "copies is 0"), ({"epochs": 0}, "epochs is 0")]
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        SamiaAttack(**options)
