"""`FeatureFgsm` climbs along what a layer inside says, and finds that layer in any module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safecompress.attacks.transfer import FeatureFgsm, MomentumFgsm, craft
from safecompress.attacks.transfer.asked import AskedModule
from safecompress.attacks.transfer.contract import violations
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Ball


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    ).eval()


@pytest.mark.parametrize(("depth", "width"), [(0.0, 144), (0.5, 96), (1.0, 8)])
def test_the_layer_at_a_depth_is_asked_and_let_go(depth: float, width: int) -> None:
    model, x = net(), torch.rand(5, 1, 8, 8)
    found = AskedModule(model).inside(x, depth=depth)
    assert found is not None
    said, logits = found(x)
    assert said.flatten(1).shape == (5, width)
    assert torch.equal(logits, model(x))
    assert not any(layer._forward_hooks for layer in model.modules())


@pytest.mark.parametrize("model", [nn.Linear(4, 3), nn.Softmax(dim=1)], ids=["one layer", "none"])
def test_what_has_no_layer_inside_is_attacked_at_its_answer(model: nn.Module) -> None:
    assert AskedModule(model).inside(torch.rand(2, 4), depth=0.5) is None
    x, labels, ball = torch.rand(6, 4), torch.arange(6) % 3, Ball("linf", 0.1)
    found, plain = (
        craft(attack, model, x, labels, ball=ball, seed=0)
        for attack in (FeatureFgsm(steps=4), MomentumFgsm(steps=4, step=2.5 / 4))
    )
    assert torch.equal(found, plain)


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_a_lower_output_of_the_layer_takes_the_label_with_it(depth: float) -> None:
    model, x = net(), torch.rand(40, 1, 8, 8)
    with torch.no_grad():
        labels = model(x).topk(2, dim=1).indices[torch.arange(40), torch.arange(40) % 2]
    points = craft(FeatureFgsm(depth=depth), model, x, labels, ball=Ball("linf", 0.2), seed=0)
    with torch.no_grad():
        before, after = (model(p).gather(1, labels[:, None]).squeeze(1) for p in (x, points))
    assert (after < before).float().mean() > 0.9


def test_it_keeps_what_every_transfer_attack_must_with_other_options() -> None:
    assert violations(FeatureFgsm(copies=2, blur=1.0, dropped=0.0, depth=1.0)) == ()


def test_a_blur_needs_images() -> None:
    with pytest.raises(UndecidableError, match="needs images"):
        craft(
            FeatureFgsm(blur=1.0),
            nn.Linear(4, 3),
            torch.rand(2, 4),
            torch.tensor([0, 1]),
            ball=Ball("linf", 0.1),
            seed=0,
        )


@pytest.mark.parametrize("options", [{"copies": 0}, {"depth": 1.1}, {"dropped": 1.0}])
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        FeatureFgsm(**options)
