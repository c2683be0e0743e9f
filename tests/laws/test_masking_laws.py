"""Laws of masked gradients: a sibling that hides them is found, and one that does not is not."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from safecompress.attacks.transfer import (
    Retraining,
    SmoothedFgsm,
    blurred,
    forgotten,
    gradient_signs,
    retrained,
    right_on_both,
    surrogates,
    transferred,
)
from safecompress.attacks.transfer.masking import top_share
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Ball

PATTERNS = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
BALL = Ball("l2", 0.8)
CHECKERS = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1).expand(3, 8, 8)


def images(n, seed):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=draw)
    noise = 0.15 * torch.randn(n, 3, 8, 8, generator=draw)
    return (0.5 + 0.3 * (PATTERNS[labels] - 0.5) + noise).clamp(0, 1), labels


def network(seed):
    torch.manual_seed(seed)
    body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(256, 3))


def fitted(seed):
    model = network(seed)
    x, labels = images(400, 2)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def full():
    return fitted(0)


@pytest.fixture(scope="module")
def child(full):
    made = copy.deepcopy(full)
    with torch.no_grad():
        for p in made.parameters():
            step = p.abs().max() / 16
            p.copy_((p / step).round() * step)
    return made


class Planted(nn.Module):
    """A sibling whose gradients lead nowhere, though it answers as its parent does."""

    def __init__(self, inner):
        super().__init__()
        self.inner = copy.deepcopy(inner)


class NoiseLayer(Planted):
    def forward(self, x):
        return self.inner(x + 0.05 * torch.randn_like(x))


class RoundsItsInputs(Planted):
    def forward(self, x):
        return self.inner((15 * x).round() / 15)


class HighFrequencySteps(Planted):
    """A wave along a checkerboard: it hardly changes what is said, and all of its slope."""

    def forward(self, x):
        along = (x * CHECKERS).flatten(1).sum(dim=1)
        wave = 0.3 * torch.sin(40 * along)[:, None] * torch.tensor([1.0, -1.0, 0.5])
        return self.inner(x) + wave


PLANTED = [NoiseLayer, RoundsItsInputs, HighFrequencySteps]


def attacked(full, small, **options):
    return transferred(full, small, *images(150, 3), ball=BALL, seed=0, **options)


@pytest.mark.parametrize("kind", PLANTED, ids=lambda k: k.__name__)
def test_a_sibling_that_masks_its_gradients_is_found(kind, full, child):
    plain = attacked(full, child).rate(level=0.95).value
    found = attacked(full, kind(child))
    assert plain > 0.3
    assert found.masked or found.rate(level=0.95).value > 0.8 * plain


def test_a_wave_of_high_frequency_is_seen_and_blurred_away(full, child):
    plain, waved = attacked(full, child), attacked(full, HighFrequencySteps(child))
    assert not plain.masked
    assert waved.signs.found
    raw = max(waved.rates[name] for name in ("pgd-10", "pgd restarts", "mi-fgsm", "margin"))
    smooth, unhidden = (
        max(rate for name, rate in found.rates.items() if name.startswith("blur"))
        for found in (waved, plain)
    )
    assert raw < smooth - 0.3
    assert smooth > 0.7 * unhidden


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_an_independent_network_masks_nothing(seed, full):
    assert attacked(full, fitted(seed)).masks == ()


def test_the_blur_removes_the_highest_band_and_keeps_the_sum():
    inside = torch.zeros(1, 1, 16, 16)
    inside[0, 0, 8, 8] = 1
    kernel = blurred(inside, 1.0)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-3)
    assert float(kernel[0, 0, 8, 8]) == pytest.approx(1 / (2 * math.pi), rel=0.02)
    checkers = CHECKERS[None].repeat(1, 1, 2, 2)
    assert top_share(checkers) == pytest.approx(1)
    assert top_share(torch.ones_like(checkers)) == pytest.approx(0)
    middle = (..., slice(4, 12), slice(4, 12))
    assert float(blurred(checkers, 1.5)[middle].abs().max()) < 1e-3
    assert torch.equal(blurred(checkers, 0.0), checkers)


def test_signs_of_a_model_beside_itself_are_none(full):
    x, labels = images(60, 3)
    rows = right_on_both(full, full, x, labels)
    found = gradient_signs(full, full, x[rows], labels[rows], ball=BALL, seed=0)
    assert found.norm_ratio == pytest.approx(1)
    assert (found.cosine, found.smooth_cosine) == (pytest.approx(1), pytest.approx(1))
    assert found.lost == 0
    assert found.found == ()


def test_surrogates_leave_both_models_alone_and_ask_no_more_than_they_may(full, child):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.asked = full, 0

        def forward(self, x):
            self.asked += len(x)
            return self.inner(x)

    x, labels = images(80, 5)
    state = copy.deepcopy(child.state_dict())
    asked = Counting()
    made = surrogates(
        child, x, labels, near=Ball("l2", 0.2), epochs=2, seed=0, full=asked, questions=30
    )
    assert asked.asked == made.questions == 30
    assert all(torch.equal(state[k], v) for k, v in child.state_dict().items())
    quiet = Counting()
    surrogates(child, x, labels, near=Ball("l2", 0.2), epochs=1, seed=0, full=quiet)
    assert quiet.asked == 0
    with pytest.raises(ConfigError, match="questions is 5"):
        surrogates(child, x, labels, near=Ball("l2", 0.2), epochs=1, seed=0, questions=5)


def test_an_own_network_knows_nothing_of_the_small_one(child):
    """Its weights are the same whatever the small model's are, for one seed."""
    other = fitted(9)
    first, second = (forgotten(model, seed=3).state_dict() for model in (child, other))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not any(torch.equal(v, child.state_dict()[k]) for k, v in first.items())


def test_the_gain_is_the_difference_of_both_kinds_of_attackers(full, child):
    x, labels = images(300, 6)
    made = surrogates(child, x, labels, near=Ball("l2", 0.4), epochs=3, seed=0)
    near = attacked(full, child, surrogates=made)
    gain = near.gain(level=0.95, seed=0)
    held = max(float(f.double().mean()) for f in near.fooled.values())
    own = max(float(f.double().mean()) for f in near.without.values())
    assert gain.value == pytest.approx(held - own)
    assert gain.low <= gain.value <= gain.high
    assert near.floor == own
    assert set(near.rates) == set(near.fooled) | set(near.without)
    with pytest.raises(UndecidableError, match="no floor"):
        attacked(full, child).gain(level=0.95, seed=0)


def test_a_copy_is_trained_in_its_ball_and_repeats_itself(child):
    x, labels = images(60, 5)
    how = Retraining(epochs=2, noise=0.1, adversarial_steps=2)
    twice = [
        retrained(child, x, labels, how=how, near=Ball("l2", 0.2), seed=1).state_dict()
        for _ in range(2)
    ]
    assert all(torch.equal(twice[0][k], twice[1][k]) for k in twice[0])
    assert not all(torch.equal(v, child.state_dict()[k]) for k, v in twice[0].items())


def test_images_of_three_colors_are_shifted_and_others_taken_as_they_are(child):
    x, labels = images(60, 5)
    gray = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()

    def weights(model, rows, **options):
        how = Retraining(epochs=1, **options)
        made = retrained(model, rows, labels, how=how, near=Ball("l2", 0.2), seed=1)
        return torch.cat([p.flatten() for p in made.parameters()])

    assert not torch.equal(weights(child, x), weights(child, x, augment=False))
    assert torch.equal(weights(gray, x[:, :1]), weights(gray, x[:, :1], augment=False))


@pytest.mark.parametrize(
    "options", [{"blur": -1.0}, {"noise": math.inf}, {"samples": 0}, {"shrink": 0.0}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        SmoothedFgsm(**options)
