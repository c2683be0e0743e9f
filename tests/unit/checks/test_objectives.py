from __future__ import annotations

import math

import pytest

from safecompress.checks.objectives import OBJECTIVES, Outcome
from safecompress.errors import ConfigError


def outcome(name: str, accuracy: float, auc: float, *, round_: int = 0) -> Outcome:
    return Outcome(name, accuracy, {"loss": auc, "entropy": auc - 0.02}, {"loss": auc}, round_)


CANDIDATES = [
    outcome("accurate", 0.70, 0.70),
    outcome("balanced", 0.695, 0.64),
    outcome("private", 0.50, 0.52),
    outcome("poor", 0.49, 0.71),
]


def best(objective: str) -> str:
    ranking = OBJECTIVES.build(objective, where="t").rank(CANDIDATES)
    return CANDIDATES[ranking[0].index].name


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES.all()) - {"paired"}))
def test_the_ranking_is_that_of_the_scores(name: str) -> None:
    """Not of `paired`: the accuracy floor comes before its score."""
    scores = [r.score for r in OBJECTIVES.build(name, where="t").rank(CANDIDATES)]
    assert scores == sorted(scores, reverse=True)


def test_an_attack_without_a_figure_counts_as_the_strongest_in_any_order() -> None:
    figures = {"a": 0.6, "b": math.nan}
    for auc in (figures, dict(reversed(figures.items()))):
        one = Outcome("x", 0.6, auc, auc)
        assert math.isnan(one.worst_auc)
        assert math.isnan(one.worst_accuracy)


def test_each_objective_chooses_what_it_names() -> None:
    assert best("accuracy") == "accurate"
    assert best("worst-attacker") == "private"
    assert best("paired") == "balanced"
    assert best("tm") == "balanced"
    assert best("pareto") in {"accurate", "balanced", "private"}


def test_tm_score_by_hand() -> None:
    ranking = OBJECTIVES.build({"tm": {"trade_off": 2.0}}, where="t").rank([CANDIDATES[0]])
    assert ranking[0].score == pytest.approx(0.70**2 / 0.70)


def test_the_worst_attacker_counts() -> None:
    one = Outcome("x", 0.6, {"a": 0.5, "b": 0.9}, {"a": 0.5, "b": 0.8})
    assert one.worst_auc == 0.9
    assert one.worst_accuracy == 0.8
    assert one.mean_auc == pytest.approx(0.7)


def test_paired_never_buys_safety_below_the_floor() -> None:
    rule = OBJECTIVES.build({"paired": {"tolerance": 0.001}}, where="t")
    assert CANDIDATES[rule.rank(CANDIDATES)[0].index].name == "accurate"
    assert "below the floor" in rule.rank(CANDIDATES)[-1].reason


def test_pareto_puts_dominated_candidates_last() -> None:
    ranking = OBJECTIVES.build("pareto", where="t").rank(CANDIDATES)
    assert CANDIDATES[ranking[-1].index].name == "poor"


def test_random_choice_is_fixed_by_seed_and_round_and_blind_to_results() -> None:
    def order(seed: int, round_: int) -> list[int]:
        rule = OBJECTIVES.build({"random": {"seed": seed}}, where="t")
        some = [outcome(str(i), 0.5 + i / 100, 0.6, round_=round_) for i in range(6)]
        return [r.index for r in rule.rank(some)]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(1, r)) for r in range(8)}) > 1
    firsts = [order(s, 0)[0] for s in range(300)]
    assert max(firsts.count(i) for i in range(6)) < 85


def test_a_bad_option_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="tolerance"):
        OBJECTIVES.build({"paired": {"tolerance": 2}}, where="steer.objective")
    with pytest.raises(ConfigError, match="did you mean 'tolerance'"):
        OBJECTIVES.build({"paired": {"tolerence": 0.1}}, where="steer.objective")
