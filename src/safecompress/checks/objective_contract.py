"""`OBJECTIVE_RULES`: objectives rank every candidate once, with a reason, in any order.

`safecompress.checks.contract.violations` runs them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from safecompress.checks.margins import LimitMargin
from safecompress.checks.objectives import Objective, Outcome, Ranked
from safecompress.randomness import generator, permutation
from safecompress.registry.contract import (
    GLOBAL_DRAW,
    global_generators,
    holds_only_its_options,
    other_global_generators,
)

_CANDIDATES = 7
_PAIRS = 20
_MARGIN = 0.01
"""By how much a dominating candidate is better in every figure."""


def _round_of(n: int, seed: int) -> list[Outcome]:
    """Return n candidates with figures drawn at random, no two alike."""
    draw = generator(seed, "contract", "outcomes")
    figures = torch.rand(n, 6, generator=draw, dtype=torch.float64).tolist()
    return [
        Outcome(
            name=f"candidate {i}",
            accuracy=0.3 + 0.6 * a,
            auc={"loss": 0.5 + 0.4 * b, "entropy": 0.5 + 0.4 * c},
            attack_accuracy={"loss": 0.5 + 0.4 * d, "entropy": 0.5 + 0.4 * e},
            round=2,
            risks={"transfer": f},
            margins=(
                LimitMargin("accuracy", 0.3 + 0.6 * a, 0.6, "at_least", 0.02, leak=False),
                LimitMargin("loss.auc", 0.5 + 0.4 * b, 0.7, "at_most", 0.03, leak=True),
                LimitMargin("transfer", f, 0.5, "at_most", 0.05, leak=True, decisive=False),
            ),
        )
        for i, (a, b, c, d, e, f) in enumerate(figures)
    ]


def _better(outcome: Outcome) -> Outcome:
    """Return a candidate with every figure better."""
    return replace(
        outcome,
        name="better",
        accuracy=outcome.accuracy + _MARGIN,
        auc={name: value - _MARGIN for name, value in outcome.auc.items()},
        attack_accuracy={name: v - _MARGIN for name, v in outcome.attack_accuracy.items()},
        risks={name: value - _MARGIN for name, value in outcome.risks.items()},
        margins=tuple(
            replace(m, value=m.value + (_MARGIN if m.relation == "at_least" else -_MARGIN))
            for m in outcome.margins
        ),
    )


def _all_bad(n: int) -> list[Outcome]:
    """Return candidates that are always wrong and leak everything."""
    return [
        Outcome(f"bad {i}", 0.0, {"loss": 1.0}, {"loss": 1.0}, risks={"transfer": 1.0})
        for i in range(n)
    ]


def _ranks_every_candidate_once(objective: Objective, seed: int) -> Iterator[str]:
    usual = _round_of(_CANDIDATES, seed)
    rounds = {
        "one candidate": usual[:1],
        "two candidates": usual[:2],
        "seven candidates": usual,
        "equal candidates": [usual[0]] * 4,
        "candidates that all leak everything": _all_bad(3),
        "candidates without further risks": [replace(o, risks={}) for o in usual],
        "candidates without limits": [replace(o, margins=()) for o in usual],
        "candidates with figures that are NaN": [_with_nan(o) for o in usual[:2]] + usual[2:],
        "candidates whose figures are all NaN": [_with_nan(o) for o in usual],
    }
    for what, outcomes in rounds.items():
        ranking = objective.rank(outcomes)
        indices = [ranked.index for ranked in ranking]
        if sorted(indices) != list(range(len(outcomes))):
            yield f"of {what} it ranks {indices}; expected each of {len(outcomes)} once"
        elif any(not isinstance(r.reason, str) or not r.reason.strip() for r in ranking):
            yield f"of {what} it ranks some without a reason"
        elif "NaN" not in what and any(math.isnan(r.score) for r in ranking):
            yield f"of {what} it gives scores that are NaN"


def _with_nan(outcome: Outcome) -> Outcome:
    """Return a candidate whose strongest attack and accuracy could not be measured."""
    nan = math.nan
    auc = {**outcome.auc, "entropy": nan}
    accuracy = {**outcome.attack_accuracy, "entropy": nan}
    margins = tuple(replace(margin, value=nan) for margin in outcome.margins)
    return replace(outcome, accuracy=nan, auc=auc, attack_accuracy=accuracy, margins=margins)


def _never_prefers_nan(objective: Objective, seed: int) -> Iterator[str]:
    if objective.blind:
        return
    sound = _round_of(_CANDIDATES, seed)
    for place in range(_CANDIDATES):
        outcomes = [_with_nan(o) if i == place else o for i, o in enumerate(sound)]
        if objective.rank(outcomes)[0].index == place:
            yield f"a candidate whose figures are NaN is ranked first (in place {place})"
            return


def _ignores_the_given_order(objective: Objective, seed: int) -> Iterator[str]:
    outcomes = _round_of(_CANDIDATES, seed)
    if objective.blind:
        others = _round_of(_CANDIDATES, seed + 1)
        if _places(objective.rank(outcomes)) != _places(objective.rank(others)):
            yield "it says that it is blind, and ranks by figures"
        return
    order = permutation(_CANDIDATES, seed, "contract", "order").tolist()
    ranking_given = [outcomes[r.index].name for r in objective.rank(outcomes)]
    shuffled = [outcomes[i] for i in order]
    ranking_shuffled = [shuffled[r.index].name for r in objective.rank(shuffled)]
    if ranking_given != ranking_shuffled:
        yield "the ranking depends on the order in which candidates are given"


def _places(ranking: Sequence[Ranked]) -> list[int]:
    return [ranked.index for ranked in ranking]


def _prefers_what_is_better(objective: Objective, seed: int) -> Iterator[str]:
    if objective.blind:
        return
    for i, worse in enumerate(_round_of(_PAIRS, seed)):
        pair = [worse, _better(worse)] if i % 2 else [_better(worse), worse]
        first, last = objective.rank(pair)
        if pair[first.index].name != "better":
            yield f"a candidate that is better in every figure is ranked behind: {last.reason}"
            return
        if first.score < last.score:
            yield (
                "a candidate that is better in every figure has the lower score, "
                f"{first.score:.4g} against {last.score:.4g}; higher is better"
            )
            return


def _repeats_itself(objective: Objective, seed: int) -> Iterator[str]:
    outcomes = _round_of(_CANDIDATES, seed)
    before = copy.deepcopy(outcomes)
    state = global_generators()
    first = objective.rank(outcomes)
    if global_generators() != state:
        yield GLOBAL_DRAW
    with other_global_generators():
        second = objective.rank(outcomes)
    if first != second:
        yield "the same candidates are ranked differently"
    if outcomes != before:
        yield "it changes the candidates' figures"


OBJECTIVE_RULES = (
    holds_only_its_options,
    _ranks_every_candidate_once,
    _never_prefers_nan,
    _ignores_the_given_order,
    _prefers_what_is_better,
    _repeats_itself,
)
"""The rules that an objective must keep."""
