"""Every registered drop and grow rule keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from safecompress.sparse import DROP_RULES, GROW_RULES, DropRule, GrowRule
from safecompress.sparse.contract import violations
from tests.contracts import assert_caught, cases
from tests.support import count

RULES = [
    pytest.param(registry, name, id=f"{registry.kind} {name}")
    for registry in (DROP_RULES, GROW_RULES)
    for name in sorted(registry.all())
]


@pytest.mark.parametrize("seed", range(count(2, 50)))
@pytest.mark.parametrize(("registry", "name"), RULES)
def test_every_registered_rule_keeps_the_contract(registry, name, seed):
    assert violations(registry.build(name, where="test"), seed=seed) == ()


@dataclass(frozen=True)
class Drop(DropRule):
    name = "mine"

    def score(self, layer):
        return layer.weight.abs()


@dataclass(frozen=True)
class Grow(GrowRule):
    name = "mine"
    requires = frozenset({"gradient"})

    def score(self, layer):
        return layer.need("gradient").abs()


class Thawed(DropRule):
    name = "thawed"

    def score(self, layer):
        return layer.weight.abs()


class Logarithm(Drop):
    def score(self, layer):
        return layer.weight.abs().log()


class Flat(Drop):
    def score(self, layer):
        return layer.weight.abs().flatten()


class Scribbles(Drop):
    def score(self, layer):
        return layer.weight.abs_().clone()


class HandsOutTheWeights(Drop):
    def score(self, layer):
        return layer.weight


class Greedy(Drop):
    requires = frozenset({"gradient"})


class Asks(Drop):
    def score(self, layer):
        return (layer.weight * layer.gradient).abs()


class Dice(Grow):
    requires = frozenset()

    def score(self, layer):
        return torch.rand(layer.weight.shape)


@dataclass(frozen=True)
class Remembers(Grow):
    seen: dict = field(default_factory=dict, repr=False, init=False, compare=False)

    def score(self, layer):
        scores = layer.need("gradient").abs()
        self.seen.setdefault("first", float(scores.mean()))
        self.seen["sum"] = self.seen.get("sum", 0.0) + 1.0
        return scores / self.seen["sum"]


class Divides(Grow):
    def score(self, layer):
        gradient = layer.need("gradient")
        return gradient.abs() / gradient.abs().sum()


class Nameless(Grow):
    name = ""


class Unknown(Grow):
    requires = frozenset({"gradient", "labels"})


BREACHES = {
    "drop": [
        (Thawed(), "not a frozen dataclass"),
        (Logarithm(), "a layer of weights that are all zero: scores are not finite"),
        (Flat(), "scores are (216,); expected the weight's (8, 3, 3, 3)"),
        (Scribbles(), "changes the layer's weight in place"),
        (HandsOutTheWeights(), "the layer's own weight"),
        (Greedy(), "requires 'gradient' and does as well without it"),
        (Asks(), "raised TypeError"),
    ],
    "grow": [
        (Dice(), "global random generator"),
        (Dice(), "the same layer and generator give different scores"),
        (Remembers(), "scored before"),
        (Divides(), "all zero: scores are not finite"),
        (Nameless(), "its name is ''"),
        (Unknown(), "it requires labels; known are gradient, moving_average"),
    ],
}


@cases(BREACHES)
def test_a_broken_rule_is_caught(part, expected):
    assert_caught(violations(part), expected)


@pytest.mark.parametrize("rule", [Drop(), Grow()])
def test_a_sound_rule_of_somebody_else_passes(rule):
    assert violations(rule) == ()
