"""Every registered query attack keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from safecompress.attacks.transfer import QUERY_ATTACKS, QueryAttack
from safecompress.attacks.transfer.contract import violations
from safecompress.randomness import generator
from tests.contracts import assert_caught, cases
from tests.support import count


@pytest.mark.parametrize("seed", range(count(1, 20)))
@pytest.mark.parametrize("name", sorted(QUERY_ATTACKS.all()))
def test_every_registered_query_attack_keeps_the_contract(name, seed):
    assert violations(QUERY_ATTACKS.build(name, where="test"), seed=seed) == ()


@dataclass(frozen=True)
class Mine(QueryAttack):
    """Add random directions one after the other, and keep those that help."""

    name = "mine"

    def hunt_(self, hunt, *, source, seed):
        best, height = hunt.x.clone(), torch.full((len(hunt.x),), -torch.inf)
        number = 0
        while len(rows := hunt.open):
            tried = self.tried(hunt, rows, best[rows], generator(seed, "mine", number))
            value = hunt.attempt(rows, tried)
            better = value > height[rows]
            best[rows[better]], height[rows[better]] = tried[better], value[better]
            number += 1

    def tried(self, hunt, rows, best, draw):
        step = hunt.ball.step(torch.randn((1, *hunt.x.shape[1:]), generator=draw), 0.3)
        return hunt.ball.project(best + step, hunt.x[rows])


class Thawed(QueryAttack):
    name = "thawed"
    hunt_ = Mine.hunt_
    tried = Mine.tried


class GivesUp(Mine):
    def hunt_(self, hunt, *, source, seed):
        hunt.attempt(hunt.open, hunt.x)


class Overdraws(Mine):
    def tried(self, hunt, rows, best, draw):
        hunt.probe(rows, best[:, None].expand(-1, 9, -1, -1, -1))
        return super().tried(hunt, rows, best, draw)


class AsksBehindTheCounter(Mine):
    def tried(self, hunt, rows, best, draw):
        hunt._oracle._target(best)
        return super().tried(hunt, rows, best, draw)


class ClaimsSuccess(Mine):
    def hunt_(self, hunt, *, source, seed):
        hunt.attempt(hunt.open, hunt.x)
        hunt.solved[:] = True


class Dice(Mine):
    def tried(self, hunt, rows, best, draw):
        return super().tried(hunt, rows, best, torch.default_generator)


class Together(Mine):
    def tried(self, hunt, rows, best, draw):
        return super().tried(hunt, rows, best + 0.1 * (best.mean(0) - best), draw)


class StandsStill(Mine):
    def tried(self, hunt, rows, best, draw):
        return best


class NeedsAGuide(Mine):
    def tried(self, hunt, rows, best, draw):
        raise TypeError("no source")


class UnknownLoss(Mine):
    loss = "hinge"


class Scribbles(Mine):
    def hunt_(self, hunt, *, source, seed):
        for parameter in hunt._oracle._target.parameters():
            parameter.requires_grad_(False)
        super().hunt_(hunt, source=source, seed=seed)


BREACHES = {
    "queries": [
        (Thawed(), "not a frozen dataclass"),
        (GivesUp(), "it gives up on"),
        (Overdraws(), "asked about more often than its budget"),
        (AsksBehindTheCounter(), "are counted"),
        (ClaimsSuccess(), "calls rows solved whose points do not fool"),
        (Dice(), "global random generator"),
        (Together(), "depends on the other rows"),
        (StandsStill(), "it fools 0%"),
        (NeedsAGuide(), "raised TypeError: no source"),
        (UnknownLoss(), "its loss is 'hinge'"),
        (Scribbles(), "it freezes parameters of the target"),
    ],
}


@cases(BREACHES)
def test_a_broken_query_attack_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_query_attack_of_somebody_else_passes():
    assert violations(Mine()) == ()
