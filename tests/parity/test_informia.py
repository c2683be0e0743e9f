"""InfoRMIA against its definition, with probabilities as plain numbers."""

from __future__ import annotations

import math
import statistics

import pytest
from scipy.stats import entropy

from tests.parity.test_reference_attacks import Side, attacked, ratio


@pytest.fixture(params=[0.5, 2.0], ids="scale={}".format)
def sides(request) -> list[Side]:
    return [Side(46, scale=request.param, seed=1), Side(38, scale=request.param, seed=2)]


def information(side: Side, i: int, *, online: bool, a: float) -> float:
    return math.log(ratio(side, i, online=online, a=a))


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("online", [True, False])
def test_of_an_answer_it_is_the_ratio_and_the_divergence_of_label_against_rest(sides, online, a):
    result = attacked(sides, {"informia": {"online": online, "a": a}})
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        expected = []
        for i, p in enumerate(side.p):
            mine = information(side, i, online=online, a=a)
            mean = p / math.exp(mine)
            expected.append(mine + float(entropy([mean, 1 - mean], [p, 1 - p])))
        assert scores.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("online", [True, False])
def test_of_a_population_it_is_the_ratio_but_for_a_constant(sides, online):
    """The constant is the population's mean ratio, an estimate of −KL(p̄ ‖ p_θ)."""
    result = attacked(sides, {"informia": {"divergence": "population", "online": online, "a": 0.3}})
    known = range(0, len(sides[1].p), 2)
    constant = statistics.fmean(information(sides[1], i, online=online, a=0.3) for i in known)
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        expected = [information(side, i, online=online, a=0.3) for i in range(len(side.p))]
        differences = [
            given - (mine - constant) for given, mine in zip(scores.tolist(), expected, strict=True)
        ]
        assert differences == pytest.approx([constant] * len(differences), rel=1e-9, abs=1e-9)


def test_it_orders_rows_that_rmia_makes_tie(sides):
    """RMIA has as many values as its population has rows."""
    ours, theirs = (attacked(sides, name).scores.members.tolist() for name in ("informia", "rmia"))
    assert len(set(ours)) == len(ours)
    assert len(set(theirs)) < len(theirs)
