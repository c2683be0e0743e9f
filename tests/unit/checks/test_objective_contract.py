"""Every registered objective keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from safecompress.checks import OBJECTIVES, Objective, Ranked
from safecompress.checks.contract import violations
from tests.contracts import assert_caught, cases
from tests.support import count


@pytest.mark.parametrize("seed", range(count(5, 200)))
@pytest.mark.parametrize("name", sorted(OBJECTIVES.all()))
def test_every_registered_objective_keeps_the_contract(name, seed):
    assert violations(OBJECTIVES.build(name, where="test"), seed=seed) == ()


@dataclass(frozen=True)
class Mine(Objective):
    """Accuracy minus twice the strongest attack's AUC; what cannot be compared comes last."""

    def score(self, outcome):
        return outcome.accuracy - 2 * outcome.worst_auc

    def rank(self, outcomes):
        scores = [self.score(o) for o in outcomes]
        order = sorted(range(len(scores)), key=lambda i: (scores[i] != scores[i], -scores[i]))
        return [self.place(i, scores[i]) for i in order]

    def place(self, index, score):
        return Ranked(index, score, f"mine {score:.3f}")


class Thawed(Objective):
    rank = Mine.rank
    score = Mine.score
    place = Mine.place


class LeavesSomeOut(Mine):
    def rank(self, outcomes):
        return super().rank(outcomes)[:5]


class Silent(Mine):
    def place(self, index, score):
        return Ranked(index, score, " ")


class TakesTheFirst(Mine):
    def rank(self, outcomes):
        return [self.place(i, -float(i)) for i in range(len(outcomes))]


class OnlyPretends(Mine):
    blind = True


class Backwards(Mine):
    def score(self, outcome):
        return -super().score(outcome)


class Inverted(Mine):
    def place(self, index, score):
        return super().place(index, -score)


class PrefersNan(Mine):
    def rank(self, outcomes):
        scores = [self.score(o) for o in outcomes]
        order = sorted(range(len(scores)), key=lambda i: (scores[i] == scores[i], -scores[i]))
        return [self.place(i, scores[i]) for i in order]


class Dice(Mine):
    def rank(self, outcomes):
        ranking = super().rank(outcomes)
        random.shuffle(ranking)
        return ranking


class Scribbles(Mine):
    def rank(self, outcomes):
        for outcome in outcomes:
            outcome.auc["loss"] = 0.5
        return super().rank(outcomes)


class Divides(Mine):
    def score(self, outcome):
        return 1 / outcome.accuracy


class NeedsRisks(Mine):
    def score(self, outcome):
        return -outcome.risks["transfer"]


BREACHES = {
    "objectives": [
        (Thawed(), "not a frozen dataclass"),
        (LeavesSomeOut(), "of seven candidates it ranks"),
        (Silent(), "without a reason"),
        (TakesTheFirst(), "depends on the order in which candidates are given"),
        (OnlyPretends(), "it says that it is blind, and ranks by figures"),
        (Backwards(), "better in every figure is ranked behind"),
        (Inverted(), "better in every figure has the lower score"),
        (PrefersNan(), "whose figures are NaN is ranked first"),
        (Dice(), "global random generator"),
        (Dice(), "the same candidates are ranked differently"),
        (Scribbles(), "it changes the candidates' figures"),
        (Divides(), "raised ZeroDivisionError"),
        (NeedsRisks(), "raised KeyError: 'transfer'"),
    ],
}


@cases(BREACHES)
def test_a_broken_objective_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_objective_of_somebody_else_passes():
    assert violations(Mine()) == ()
