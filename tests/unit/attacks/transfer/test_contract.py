"""Every registered transfer attack keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.nn.functional import cross_entropy

from safecompress.attacks.transfer import (
    TRANSFER_ATTACKS,
    Aim,
    QueryTransfer,
    Rgf,
    Square,
    input_gradient,
)
from safecompress.attacks.transfer.contract import violations
from safecompress.protocols import TransferAttack
from tests.contracts import assert_caught, cases
from tests.crafting import RowByRow
from tests.support import count

REQUESTS = [
    *TRANSFER_ATTACKS.all(),
    {"pgd": {"restarts": 3, "random_start": True, "loss": "margin"}},
    {"pgd": {"restarts": 2, "early_stop": True, "steps": 5}},
]


@pytest.mark.parametrize("seed", range(count(2, 20)))
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_every_registered_transfer_attack_keeps_the_contract(request_, seed):
    assert violations(TRANSFER_ATTACKS.build(request_, where="test"), seed=seed) == ()


@pytest.mark.parametrize("attack", [Rgf(), Square()], ids=lambda a: a.name)
def test_points_found_by_questions_keep_the_contract(attack):
    assert violations(QueryTransfer(attack, budget=count(30, 60))) == ()


@dataclass(frozen=True)
class Mine(TransferAttack):
    name = "mine"

    def change(self, gradient, ball, seed):
        return ball.step(gradient, ball.radius)

    def perturb(self, source, x, labels, *, ball, seed, targets=None):
        gradient = input_gradient(source, x, Aim(labels, targets))
        return ball.project(x + self.change(gradient, ball, seed), x)


class Thawed(TransferAttack):
    name = "thawed"
    perturb = Mine.perturb
    change = Mine.change


class Leaves(Mine):
    def perturb(self, source, x, labels, *, ball, seed, targets=None):
        return x + ball.step(input_gradient(source, x, Aim(labels, targets)), ball.radius)


class Descends(Mine):
    def change(self, gradient, ball, seed):
        return -super().change(gradient, ball, seed)


class IgnoresTheTarget(Mine):
    def perturb(self, source, x, labels, *, ball, seed, targets=None):
        return super().perturb(source, x, labels, ball=ball, seed=seed)


class Dice(Mine):
    def change(self, gradient, ball, seed):
        return super().change(gradient + 0.1 * torch.randn_like(gradient), ball, seed)


class Together(Mine):
    def change(self, gradient, ball, seed):
        return super().change(gradient - gradient.mean(0), ball, seed)


@dataclass(frozen=True)
class SeesTheTarget(Mine):
    target: RowByRow = RowByRow(seed=9)  # noqa: RUF009


class Trains(Mine):
    def perturb(self, source, x, labels, *, ball, seed, targets=None):
        asked = x.clone().requires_grad_()
        cross_entropy(source(asked), labels).backward()
        return super().perturb(source, x, labels, ball=ball, seed=seed, targets=targets)


class Scribbles(Mine):
    def perturb(self, source, x, labels, *, ball, seed, targets=None):
        rows = x.clone()
        gradient = input_gradient(source, rows, Aim(labels, targets))
        return x.add_(ball.project(rows + self.change(gradient, ball, seed), rows) - rows)


class Divides(Mine):
    def change(self, gradient, ball, seed):
        return super().change(gradient / gradient.abs().amax(), ball, seed)


class Flat(Mine):
    def perturb(self, source, x, labels, *, ball, seed, targets=None):
        return super().perturb(source, x, labels, ball=ball, seed=seed).flatten(1)


BREACHES = {
    "transfer": [
        (Thawed(), "not a frozen dataclass"),
        (Leaves(), "leave the ball or the input range"),
        (Descends(), "the source's loss does not rise"),
        (IgnoresTheTarget(), "with a target it comes no nearer to it"),
        (Dice(), "global random generator"),
        (Together(), "depends on the other rows"),
        (SeesTheTarget(), "its option target is a model"),
        (Trains(), "changes the gradients of the source"),
        (Scribbles(), "changes the rows or labels in place"),
        (Divides(), "of a source with logits that say nothing its points are not finite"),
        (Flat(), "it returns shape (12, 72)"),
    ],
}


@cases(BREACHES)
def test_a_broken_transfer_attack_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_transfer_attack_of_somebody_else_passes():
    assert violations(Mine()) == ()
