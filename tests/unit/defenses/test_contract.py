"""Every registered defense keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

import pytest
import torch

from safecompress.defenses import DEFENSES
from safecompress.defenses.contract import violations
from safecompress.protocols import Defense
from tests.contracts import assert_caught, cases
from tests.defended import ON, built
from tests.support import count

SHORT = {"adversarial": {"attacker_steps": count(1, 3)}}
"""How long its attackers learn in each step changes no rule that a defense keeps."""


@pytest.mark.parametrize("seed", range(count(1, 10)))
@pytest.mark.parametrize("name", ON)
def test_every_registered_defense_keeps_the_contract(name, seed):
    assert violations(built({name: ON[name] | SHORT.get(name, {})}), seed=seed) == ()


def test_every_registered_defense_has_options_that_show():
    assert set(ON) == set(DEFENSES.all())


class Mine(Defense):
    """Pull the logits towards zero, more so the more steps have passed."""

    name = "mine"

    def __init__(self):
        self.steps = torch.zeros(())

    def penalty(self, batch):
        return 1e-3 * self.steps * batch.logits.tanh().square().mean()

    def after_step_(self, batch):
        self.steps = self.steps + 1

    def state(self):
        return {"steps": self.steps.clone()}

    def load_state_(self, state):
        self.steps = state.get("steps", torch.zeros(())).clone()


class Idle(Mine):
    def penalty(self, batch):
        return None


class Forgets(Mine):
    def state(self):
        return {}


class StartsLate(Mine):
    def load_state_(self, state):
        self.steps = state.get("steps", self.steps)


class HandsOutItsOwn(Mine):
    def state(self):
        return {"steps": self.steps}


class PerRow(Mine):
    def penalty(self, batch):
        return batch.logits.square().mean(dim=1)


class Overflows(Mine):
    def penalty(self, batch):
        return batch.logits.exp().mean()


class Divides(Mine):
    def penalty(self, batch):
        return batch.logits.square().sum().sqrt()


class Dice(Mine):
    def penalty(self, batch):
        return (torch.rand(len(batch.labels)) * batch.logits.square().mean(1)).mean()


class Revives(Mine):
    def prepare_(self, context):
        self.module = context.module

    def after_step_(self, batch):
        if batch.step == 79:
            with torch.no_grad():
                for parameter in self.module.parameters():
                    parameter.add_(0.01)


class OnlyPretends(Mine):
    only_penalty = True


class WantsReference(Mine):
    def prepare_(self, context):
        self.inputs = context.reference.inputs


class Scribbles(Mine):
    def prepare_(self, context):
        context.validation.labels.zero_()


class LeavesHooks(Mine):
    def prepare_(self, context):
        context.module.register_forward_hook(lambda module, inputs, output: None)


class RemembersTheClock(Mine):
    drawn = 0

    def penalty(self, batch):
        RemembersTheClock.drawn += 1
        return 1e-4 * RemembersTheClock.drawn * batch.logits.tanh().square().mean()


class Nameless(Mine):
    name = None


class KnowsItsRows(Mine):
    def penalty(self, batch):
        return 1e-3 * (torch.ones(100)[batch.ids] * batch.logits.tanh().square().mean(dim=1)).mean()


class Counts(Mine):
    def state(self):
        return {"steps": int(self.steps)}


BREACHES = {
    "defenses": [
        (Idle(), "it changes nothing"),
        (Forgets(), "interrupted and resumed ends elsewhere"),
        (StartsLate(), "starts with what it remembers of the first"),
        (HandsOutItsOwn(), "hands out its own tensors"),
        (PerRow(), "its penalty is (100,); expected a scalar"),
        (Overflows(), "its penalty is inf for logits scaled by"),
        (Divides(), "gradient is not finite for logits scaled by 0"),
        (Dice(), "global random generator"),
        (Revives(), "that do not exist come back"),
        (OnlyPretends(), "nothing but a penalty (only_penalty), and has after_step_"),
        (WantsReference(), "raised AttributeError"),
        (Scribbles(), "changes the validation rows"),
        (LeavesHooks(), "it leaves hooks on the model"),
        (RemembersTheClock(), "the same seed gives different weights"),
        (Nameless(), "its name is None"),
        (Counts(), "'steps' of its state is int; expected a tensor"),
        (KnowsItsRows(), "can be judged: raised IndexError"),
    ],
}


@cases(BREACHES)
def test_a_broken_defense_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_defense_of_somebody_else_passes():
    assert violations(Mine()) == ()


class BeginsWhenItsStateIsLoaded(Mine):
    def __init__(self):
        pass


def test_a_fresh_start_is_an_empty_state_and_needs_no_other_preparation():
    assert violations(BeginsWhenItsStateIsLoaded()) == ()


def test_an_exception_is_reported_with_the_line_of_the_part():
    found = violations(WantsReference())
    assert any("(test_contract.py:" in sentence for sentence in found), found
