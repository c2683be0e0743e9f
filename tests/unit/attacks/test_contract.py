"""Every registered attack keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import violations
from safecompress.attacks.metric import LossAttack
from safecompress.protocols import Attack
from tests.contracts import assert_caught, cases
from tests.quick_attacks import QUICK

REQUESTS = [{name: QUICK.get(name, {})} for name in sorted(ATTACKS.all())]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: next(iter(r)))
def test_every_registered_attack_keeps_the_contract(request_):
    assert violations(ATTACKS.build(request_, where="test")) == ()


@dataclass(frozen=True)
class Broken(Attack):
    name = "broken"
    signals = "label"

    def score(self, fitted, evidence):
        return -evidence.outputs.losses


@dataclass(frozen=True)
class Hoarder(Broken):
    def __post_init__(self):
        object.__setattr__(self, "_drawn", object())


class Thawed(Attack):
    name = "thawed"
    signals = "label"

    def score(self, fitted, evidence):
        return -evidence.outputs.losses


class Undeclared(Broken):
    signals = "gut feeling"


class WrongSign(Broken):
    def score(self, fitted, evidence):
        return evidence.outputs.losses


class Blind(Broken):
    def score(self, fitted, evidence):
        return torch.zeros(len(evidence.outputs))


class Dice(Broken):
    def score(self, fitted, evidence):
        return -evidence.outputs.losses + 0.01 * torch.rand(len(evidence.outputs))


class RowOrder(Broken):
    def score(self, fitted, evidence):
        return -evidence.outputs.losses + 0.01 * torch.arange(len(evidence.outputs))


class Peeks(Broken):
    learns = True

    def score(self, fitted, evidence):
        losses = evidence.outputs.losses
        return (losses.mean() - losses) / losses.std()


class Overflows(Broken):
    def score(self, fitted, evidence):
        return (
            torch.softmax(evidence.outputs.logits, 1)
            .gather(1, evidence.outputs.labels[:, None])
            .squeeze(1)
            .log()
        )


class Scribbles(Broken):
    def score(self, fitted, evidence):
        scores = -evidence.outputs.losses
        evidence.outputs.logits.mul_(0.5)
        return scores


class Greedy(Broken):
    requires = frozenset({"training_log"})


class IgnoresTheParent(Broken):
    requires = frozenset({"parent"})


class IgnoresTheFamily(Broken):
    requires = frozenset({"family"})


class IgnoresTheRows(Broken):
    requires = frozenset({"rows"})


class IgnoresTheTarget(Broken):
    requires = frozenset({"rows", "target"})


class IgnoresTheInside(Broken):
    requires = frozenset({"internals"})


class Misspelled(LossAttack):
    requires = frozenset({"logits"})


class NotASet(LossAttack):
    requires = "parent"  # type: ignore[assignment]


class Omniscient(LossAttack):
    knowledge = "oracle"


class ReadsLogits(LossAttack):
    label_only = True


BREACHES = {
    "attacks": [
        (Hoarder(), "built again from its options it is another part"),
        (Thawed(), "not a frozen dataclass"),
        (Undeclared(), "its signals are 'gut feeling'; expected one of label, vector"),
        (WrongSign(), "planted-leak: broken has AUC 0."),
        (Blind(), "planted-leak: broken has AUC 0.500"),
        (Dice(), "global random generator"),
        (Dice(), "the same seed gives different scores"),
        (RowOrder(), "order of the rows"),
        (Peeks(), "other rows of the judged half"),
        (Overflows(), "not finite"),
        (Scribbles(), "in place"),
        (Greedy(), "MissingEvidenceError"),
        (IgnoresTheParent(), "planted-leak: broken has AUC 0.5"),
        (IgnoresTheFamily(), "planted-leak: broken has AUC 0.5"),
        (IgnoresTheRows(), "planted-leak: broken has AUC 0.6"),
        (IgnoresTheTarget(), "planted-leak: broken has AUC 0."),
        (IgnoresTheInside(), "planted-leak: broken has AUC 0.5"),
        (Misspelled(), "it requires logits; known are each_output, family,"),
        (NotASet(), "requires is 'parent'; expected a frozenset"),
        (Omniscient(), "its knowledge is 'oracle'; expected one of auditor, shadow"),
        (ReadsLogits(), "predicted classes only (label_only), and reads logits"),
    ],
}


@cases(BREACHES)
def test_a_broken_attack_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_attack_of_somebody_else_passes():
    @dataclass(frozen=True)
    class Mine(LossAttack):
        name = "mine"

    assert violations(Mine()) == ()
