"""PGD and Square against Foolbox and ART: the same nets, rows and balls, robust accuracy."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safecompress.attacks.transfer import Fgsm, Pgd, Square, craft, hunt_down
from safecompress.protocols import Ball

POINT = 0.01
SIDE, CLASSES, ROWS = 9, 4, 600
STEPS = 20
ASKED, SEEDS, SQUARE_ROWS = 200, 4, 300
BALLS = (Ball("linf", 4 / 255), Ball("l2", 0.3))

balls = pytest.mark.parametrize("ball", BALLS, ids=lambda b: b.norm)
nets = pytest.mark.parametrize("seed", [0, 1])


def labeled(n: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return noisy images of four faint patterns."""
    patterns = torch.rand(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (n,), generator=draw)
    noise = 0.15 * torch.randn(n, 1, SIDE, SIDE, generator=draw)
    return (0.5 + 0.25 * (patterns[labels] - 0.5) + noise).clamp(0, 1), labels


def trained(seed: int) -> nn.Module:
    x, labels = labeled(2000, seed=100)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * (SIDE // 2) ** 2, CLASSES),
        )
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        for _ in range(8):
            for index in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[index]), labels[index]).backward()
                optimizer.step()
    return model.eval()


net = functools.cache(trained)


def right(model: nn.Module, points: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((model(points).argmax(1) == labels).double().mean())


def art_model(model: nn.Module, *, side: int = SIDE):
    estimators = pytest.importorskip("art.estimators.classification", reason="needs ART")
    return estimators.PyTorchClassifier(
        model,
        nn.CrossEntropyLoss(),
        (1, side, side),
        CLASSES,
        clip_values=(0, 1),
        device_type="cpu",
    )


def one_hot(labels: Tensor) -> np.ndarray:
    return nn.functional.one_hot(labels, CLASSES).float().numpy()


def art_order(ball: Ball):
    return np.inf if ball.norm == "linf" else 2


class Framed(nn.Module):
    """A model that does not look at the last row and column."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x[..., :-1, :-1])


def art_square(model: nn.Module, x: Tensor, labels: Tensor, ball: Ball, *, seed: int) -> float:
    pytest.importorskip("art", reason="needs ART")
    from art.attacks.evasion import SquareAttack

    # ART, like the authors' code, never draws a window's last place, which the paper does draw: it
    # is given a row and a column more to leave out.
    framed, x = Framed(model), nn.functional.pad(x, (0, 1, 0, 1))
    np.random.seed(seed)
    asked = art_model(framed, side=SIDE + 1)
    # ART collects a batch row by row, which takes longer than the answers.
    asked.predict = lambda x, **_: framed(torch.from_numpy(x)).numpy()
    attack = SquareAttack(
        asked,
        norm=art_order(ball),
        eps=ball.radius,
        max_iter=ASKED,
        p_init=0.05 if ball.norm == "linf" else 0.1,
        batch_size=SQUARE_ROWS,
        verbose=False,
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return right(framed, torch.tensor(attack.generate(x.numpy(), y=one_hot(labels))), labels)


def our_square(model: nn.Module, x: Tensor, labels: Tensor, ball: Ball, *, seed: int) -> float:
    # Windows as large as on the framed images.
    share = (0.05 if ball.norm == "linf" else 0.1) * ((SIDE + 1) / SIDE) ** 2
    # ART begins at the row itself where the first change does not help, and counts neither.
    attack = Square(share=share, length=ASKED, compare_start=True)
    found = hunt_down(
        attack, model, x, labels, ball=ball, seed=seed, budget=ASKED + 2, batch_size=SQUARE_ROWS
    )
    return 1 - float(found.solved.double().mean())


@nets
@balls
def test_pgd_and_fgsm_as_in_foolbox(ball, seed):
    foolbox = pytest.importorskip("foolbox", reason="needs Foolbox")
    model = net(seed)
    x, labels = labeled(ROWS, seed=200)
    theirs_of = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    kinds = {
        "linf": (foolbox.attacks.LinfPGD, foolbox.attacks.LinfFastGradientAttack),
        "l2": (foolbox.attacks.L2PGD, foolbox.attacks.L2FastGradientAttack),
    }
    pgd, fgsm = kinds[ball.norm]
    pairs = (
        (Pgd(steps=STEPS, step=0.1), pgd(rel_stepsize=0.1, steps=STEPS, random_start=False)),
        (Fgsm(), fgsm(random_start=False)),
    )
    for ours, theirs in pairs:
        found = craft(ours, model, x, labels, ball=ball, seed=0)
        _, points, _ = theirs(theirs_of, x, labels, epsilons=ball.radius)
        mine, other = right(model, found, labels), right(model, points, labels)
        assert abs(mine - other) <= POINT, (ours.name, mine, other)
        assert mine < right(model, x, labels) - 0.1


@nets
@balls
def test_pgd_as_in_art(ball, seed):
    model = net(seed)
    x, labels = labeled(ROWS, seed=200)
    classifier = art_model(model)
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm=art_order(ball),
        eps=ball.radius,
        eps_step=0.1 * ball.radius,
        max_iter=STEPS,
        batch_size=ROWS,
        verbose=False,
    )
    points = torch.tensor(attack.generate(x.numpy(), y=one_hot(labels)))
    found = craft(Pgd(steps=STEPS, step=0.1), model, x, labels, ball=ball, seed=0)
    assert abs(right(model, found, labels) - right(model, points, labels)) <= POINT


def test_square_as_in_art_in_linf():
    ball = Ball("linf", 10 / 255)
    x, labels = labeled(SQUARE_ROWS, seed=200)
    nets = [net(0), net(1)]
    # All rows of a run share their draws, in both libraries, so a run's figure moves by points.
    ours = np.mean([our_square(m, x, labels, ball, seed=s) for m in nets for s in range(2 * SEEDS)])
    theirs = np.mean([art_square(m, x, labels, ball, seed=s) for m in nets for s in range(SEEDS)])
    assert abs(ours - theirs) <= POINT, (ours, theirs)
    assert ours < right(net(0), x, labels) - 0.1


def test_square_is_at_least_as_strong_as_in_art_in_l2():
    # ART 1.20 divides a window by its length times what is left of the radius, where the published
    # algorithm divides by the length and multiplies; its windows are weaker for it, or NaN.
    ball = Ball("l2", 0.6)
    x, labels = labeled(SQUARE_ROWS // 2, seed=200)
    ours = our_square(net(0), x, labels, ball, seed=0)
    assert ours <= art_square(net(0), x, labels, ball, seed=0) + POINT
    assert ours < right(net(0), x, labels) - 0.1
