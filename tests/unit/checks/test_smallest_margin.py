"""The objective `margin`: laws of its ranking, and a right answer that is counted out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.checks import (
    Accuracy,
    LimitMargin,
    Outcome,
    SmallestMargin,
    Suite,
    at_least_dense,
    named_check,
)
from safecompress.checks.margins import LimitMargin as Margin
from safecompress.checks.presets import default_suite
from safecompress.config import PRESETS
from safecompress.errors import ConfigError
from safecompress.registry import split_request
from tests.support import count

OBJECTIVES = [
    SmallestMargin(**split_request(request, where="t")[1]) for request in PRESETS.values()
]
_RELATIONS = ("at_most", "at_least")
# Few distinct values, so that ties are common.
_FIGURES = st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0])
_NOISES = st.sampled_from([0.25, 0.5, 1.0])


@st.composite
def rounds(draw: st.DrawFn) -> list[Outcome]:
    """Return two to five candidates with the same limits."""
    limits = draw(
        st.lists(
            st.tuples(st.sampled_from(_RELATIONS), st.booleans(), st.booleans(), _FIGURES),
            min_size=1,
            max_size=4,
        )
    )
    size = draw(st.integers(2, 5))
    return [
        outcome(
            *(
                Margin(f"limit {k}", draw(_FIGURES), bound, relation, draw(_NOISES), leak, decisive)
                for k, (relation, leak, decisive, bound) in enumerate(limits)
            ),
            name=f"candidate {i}",
        )
        for i in range(size)
    ]


def outcome(*margins: LimitMargin, name: str = "one") -> Outcome:
    return Outcome(name, 0.5, {"loss": 0.5}, {"loss": 0.5}, margins=margins)


def names(objective: SmallestMargin, outcomes: list[Outcome]) -> list[str]:
    return [outcomes[r.index].name for r in objective.rank(outcomes)]


def behind(objective: SmallestMargin, a: Outcome, b: Outcome) -> bool:
    """Return whether b is strictly better than a: it is first in both orders."""
    return names(objective, [a, b])[0] == b.name == names(objective, [b, a])[0]


def beats(objective: SmallestMargin, a: Outcome, b: Outcome) -> bool:
    """Return whether a is better than b, by removing equal smallest margins one after the other."""

    def duel(ours: list[float], theirs: list[float]) -> int:
        ours, theirs = list(ours), list(theirs)
        while ours:
            low, other = min(ours), min(theirs)
            if low != other:
                return 1 if low > other else -1
            ours.remove(low)
            theirs.remove(other)
        return 0

    def reserves(one: Outcome, keep: Callable[[LimitMargin], bool]) -> list[float]:
        found = []
        for m in one.margins:
            if keep(m):
                sign = 1 if m.relation == "at_most" else -1
                units = sign * (m.bound - m.value) / m.noise
                found.append(units + (0 if m.decisive else 2))
        return found

    first = {"worth": lambda m: not m.leak, "leaks": lambda m: m.leak, "all": lambda m: True}
    keep = first[objective.first]
    ours, theirs = reserves(a, keep), reserves(b, keep)
    if objective.first != "all":
        ours, theirs = ([min(r, objective.enough) for r in rs] for rs in (ours, theirs))
        rest = [reserves(one, lambda m: not keep(m)) for one in (a, b)]
    else:
        rest = [[], []]
    every = [reserves(one, lambda m: True) for one in (a, b)]
    for pair in ((ours, theirs), rest, every):
        if (won := duel(*pair)) != 0:
            return won > 0
    return False


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@given(outcomes=rounds())
@settings(max_examples=count(60, 3000), deadline=None)
def test_the_ranking_is_that_of_all_duels(
    objective: SmallestMargin, outcomes: list[Outcome]
) -> None:
    ranked = [outcomes[r.index] for r in objective.rank(outcomes)]
    for i, better in enumerate(ranked):
        for worse in ranked[i + 1 :]:
            assert not beats(objective, worse, better)
            if not beats(objective, better, worse):  # a tie keeps the order of the proposals
                assert outcomes.index(better) < outcomes.index(worse)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@given(outcomes=rounds(), data=st.data())
@settings(max_examples=count(40, 2000), deadline=None)
def test_an_improved_figure_never_lowers_the_rank(
    objective: SmallestMargin, outcomes: list[Outcome], data: st.DataObject
) -> None:
    who = data.draw(st.integers(0, len(outcomes) - 1))
    which = data.draw(st.integers(0, len(outcomes[who].margins) - 1))
    step = data.draw(st.sampled_from([0.125, 0.5, 3.0]))
    margins = list(outcomes[who].margins)
    sign = 1 if margins[which].relation == "at_least" else -1
    margins[which] = replace(margins[which], value=margins[which].value + sign * step)
    better = list(outcomes)
    better[who] = replace(outcomes[who], margins=tuple(margins))
    name = outcomes[who].name
    before, after = objective.rank(outcomes), objective.rank(better)
    assert names(objective, better).index(name) <= names(objective, outcomes).index(name)
    scores = [{outcomes[r.index].name: r.score for r in ranked}[name] for ranked in (before, after)]
    assert scores[0] <= scores[1]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@given(outcomes=rounds(), scale=st.sampled_from([0.125, 4.0, 1024.0]), which=st.integers(0, 3))
@settings(max_examples=count(30, 1000), deadline=None)
def test_the_unit_of_a_figure_does_not_matter(
    objective: SmallestMargin, outcomes: list[Outcome], scale: float, which: int
) -> None:
    def rescaled(one: Outcome) -> Outcome:
        margins = list(one.margins)
        m = margins[which % len(margins)]
        margins[which % len(margins)] = replace(
            m, value=scale * m.value, bound=scale * m.bound, noise=scale * m.noise
        )
        return replace(one, margins=tuple(margins))

    assert names(objective, outcomes) == names(objective, [rescaled(o) for o in outcomes])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@given(outcomes=rounds(), margin=_FIGURES, leak=st.booleans())
@settings(max_examples=count(30, 1000), deadline=None)
def test_a_limit_that_all_keep_alike_does_not_decide(
    objective: SmallestMargin, outcomes: list[Outcome], margin: float, leak: bool
) -> None:
    """An exact limit that everybody keeps is one of them: its margin is infinite."""
    for common in (
        Margin("common", margin, 0.0, "at_most", 1.0, leak),
        Margin("exact", 0.05, 0.05, "at_most", 0.0, leak),
    ):
        more = [replace(o, margins=(*o.margins, common)) for o in outcomes]
        assert names(objective, more) == names(objective, outcomes)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@given(outcomes=rounds())
@settings(max_examples=count(20, 500), deadline=None)
def test_the_order_in_which_candidates_are_given_decides_ties_alone(
    objective: SmallestMargin, outcomes: list[Outcome]
) -> None:
    first = outcomes[objective.rank(outcomes)[0].index]
    for order in list(permutations(outcomes))[:24]:
        chosen = order[objective.rank(order)[0].index]
        assert not beats(objective, first, chosen)


@given(figure=_FIGURES, bound=_FIGURES, noise=_NOISES, relation=st.sampled_from(_RELATIONS))
def test_twice_the_noise_halves_the_margin(
    figure: float, bound: float, noise: float, relation: str
) -> None:
    once = Margin("x", figure, bound, relation, noise, leak=True)  # type: ignore[arg-type]
    assert replace(once, noise=2 * noise).margin == once.margin / 2


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@given(outcomes=rounds(), data=st.data())
@settings(max_examples=count(30, 1000), deadline=None)
def test_a_figure_that_is_unknown_puts_a_candidate_last(
    objective: SmallestMargin, outcomes: list[Outcome], data: st.DataObject
) -> None:
    who = data.draw(st.integers(0, len(outcomes) - 1))
    which = data.draw(st.integers(0, len(outcomes[who].margins) - 1))
    margins = list(outcomes[who].margins)
    margins[which] = replace(margins[which], value=math.nan)
    outcomes[who] = replace(outcomes[who], margins=tuple(margins))
    last = objective.rank(outcomes)[-1]
    assert last.index == who
    assert last.score == -math.inf
    assert margins[which].limit in last.reason


def test_presets_choose_what_they_name() -> None:
    def one(name: str, loss: float, auc: float) -> Outcome:
        return outcome(
            Margin("own", -loss, 0.0, "at_least", 0.01, leak=False),
            Margin("accuracy", -loss, -0.05, "at_least", 0.01, leak=False),
            Margin("auc", auc, 0.60, "at_most", 0.02, leak=True),
            name=name,
        )

    some = [
        one("accurate, leaky", 0.0, 0.66),
        one("accurate, less leaky", -0.01, 0.63),
        one("between", 0.03, 0.59),
        one("private, better", 0.07, 0.57),
        one("private, worse", 0.09, 0.50),
    ]
    chosen = {
        name: names(objective, some)[0] for name, objective in zip(PRESETS, OBJECTIVES, strict=True)
    }
    assert chosen["accurate"] == "accurate, less leaky"
    assert chosen["private"] == "private, better"
    no_own = [replace(o, margins=o.margins[1:]) for o in some]
    assert names(OBJECTIVES[1], no_own)[0] == "between"


def test_the_limits_are_the_critical_checks_and_the_allowed_loss() -> None:
    suite = default_suite(density=0.1, relative=True)
    critical = tuple(check for check in suite.checks if check.critical)
    assert SmallestMargin().limits(suite, worth=Accuracy()) == critical
    first, *others = SmallestMargin(loss=0.01).limits(suite, worth=Accuracy())
    assert (first.measure, first.condition) == (Accuracy(), at_least_dense(-0.01))
    assert tuple(others) == critical
    own = Suite((named_check(Accuracy(), at_least_dense(-0.01)),))
    assert SmallestMargin(loss=0.01).limits(own, worth=Accuracy()) == own.checks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"first": "speed"}, "first is 'speed'"),
        ({"enough": math.nan}, "enough is nan"),
        ({"loss": 1.5}, "loss must lie in"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SmallestMargin(**options)  # type: ignore[arg-type]
