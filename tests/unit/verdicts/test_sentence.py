"""The sentence of a verdict, on generated results: what it says holds of the checks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from safecompress.checks import (
    MEASURES,
    Check,
    CheckResult,
    Status,
    at_least,
    at_most,
    rows_to_settle,
)
from safecompress.protocols import Estimate
from safecompress.verdicts.sentence import listed
from safecompress.verdicts.verdict import Finding
from tests.imagined_verdicts import ROWS, Leak, Worth, checks, controls, judged
from tests.support import count

MANY = settings(max_examples=count(150, 3000), deadline=None)


def failed(finding: Finding, *, leak: bool) -> list[str]:
    return [
        c.name
        for c in finding.checks
        if c.critical and c.status is Status.FAIL and c.name.startswith("leak-") is leak
    ]


@given(asked=checks(), held=controls())
@MANY
def test_safe_is_said_of_a_pass_alone(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...]
) -> None:
    finding = judged(asked, held)
    said = finding.sentence
    assert said.startswith("Safe to ship") == (finding.status is Status.PASS)
    assert ("Safe" in said) == (finding.status is Status.PASS)


@given(asked=checks(), held=controls())
@MANY
def test_not_safe_is_said_of_leaks_alone_and_first(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...]
) -> None:
    finding = judged(asked, held)
    fails = finding.status is Status.FAIL
    leaks, others = failed(finding, leak=True), failed(finding, leak=False)
    assert ("Not safe to ship" in finding.sentence) == (fails and bool(leaks))
    assert ("Not good enough to ship" in finding.sentence) == (fails and bool(others))
    if fails and leaks:
        assert finding.sentence.startswith("Not safe to ship")
    if fails:
        for names in (leaks, others):
            assert not names or listed(names) in finding.sentence


@given(asked=checks(), held=controls())
@MANY
def test_what_is_blamed_for_an_error_brought_it_about(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...]
) -> None:
    finding = judged(asked, held)
    if finding.status is not Status.ERROR:
        assert "No verdict" not in finding.sentence
        return
    broken = {
        c.name for c in finding.checks if c.critical and c.status in {Status.ERROR, Status.NOT_RUN}
    }
    head = finding.sentence.partition(" Its strongest")[0]
    for check in finding.checks:
        if check.name not in broken:
            assert check.name not in head
    assert any(name in head for name in broken) == bool(broken)
    if not any(c.critical for c in finding.checks):
        assert "no critical check was asked for" in head


@given(asked=checks(), held=controls())
@MANY
def test_rows_are_asked_for_only_where_rows_help(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...]
) -> None:
    finding = judged(asked, held)
    if finding.status is not Status.INCONCLUSIVE:
        assert "would settle" not in finding.sentence
        return
    conditions = {check.name: check.condition for check in asked}
    undecided = [
        c for c in finding.checks if c.critical and c.status is Status.INCONCLUSIVE and c.estimate
    ]
    needed = [rows_to_settle(c.estimate, conditions[c.name]) for c in undecided if c.estimate]
    assert ("would settle" in finding.sentence) == any(n is not None for n in needed)
    assert ("No number of rows" in finding.sentence) == any(n is None for n in needed)


@given(asked=checks(), held=controls())
@MANY
def test_nothing_undecided_and_no_silent_control_is_kept_back(
    asked: tuple[Check, ...], held: tuple[CheckResult, ...]
) -> None:
    finding = judged(asked, held)
    undecided = [c.name for c in finding.checks if not c.decided]
    if len(undecided) <= 3:
        assert all(name in finding.sentence for name in undecided)
    assert ("Left undecided" in finding.sentence) >= any(
        c.status is Status.WARN and not c.decided for c in finding.checks
    )
    # One more control says where no check asks for a leak.
    every = [c for c in finding.checks if c.name.startswith("control:")]
    silent = [c for c in every if c.status is Status.NOT_RUN]
    assert (f"controls could run on {ROWS}" in finding.sentence) == (
        bool(silent) and len(silent) == len(every)
    )
    assert ("controls could not run" in finding.sentence) == (0 < len(silent) < len(every))


def test_the_words_of_each_end() -> None:
    far, near = Estimate(0.9, 0.89, 0.91, 99, 99), Estimate(0.58, 0.54, 0.62, 500, 500)
    leaking = Check("loss", Leak("loss", far), at_most(0.6))
    weak = Check("accuracy", Worth("accuracy", Estimate(0.3, 0.2, 0.4, 0, 99)), at_least(0.5))
    close = Check("close", Leak("close", near), at_most(0.6))
    rare = Check("rare", Leak("rare", replace(near, group="class Ä1")), at_most(0.6))
    level = Check("level", Leak("level", Estimate(0.6, 0.5, 0.7, 99, 99)), at_most(0.6))
    said = {
        "Not safe to ship: 1 of 1 critical checks failed: loss.": (leaking,),
        "Not good enough to ship: 1 of 1 critical checks failed: accuracy.": (weak,),
        "Not safe to ship: 1 of 2 critical checks failed: loss. Not good enough to ship: 1 of 2 "
        "critical checks failed: accuracy.": (weak, leaking),
        "Not decided: 1 of 1 critical checks. About 4,000 rows would settle close, if the figures "
        "stay as they are.": (close,),
        "Not decided: 1 of 1 critical checks. About 4,000 rows of class Ä1 would settle rare, if "
        "the figures stay as they are.": (rare,),
        "Not decided: 1 of 1 critical checks. No number of rows will settle level: the figure lies "
        "at the limit.": (level,),
        "No verdict: no critical check was asked for.": (),
    }
    for sentence, asked in said.items():
        assert judged(asked).sentence.partition(" Its strongest")[0] == sentence


@pytest.mark.parametrize("name", sorted(MEASURES.parts))
def test_worth_and_size_are_no_leaks_and_all_else_is(name: str) -> None:
    options = {"attack": {"attack": "loss"}, "attribute": {"column": 0}}
    measure = MEASURES.build({name: options.get(name, {})}, where="test")
    assert measure.leak is (name != "density" and measure.worse == "higher")


@given(
    value=st.floats(0, 1),
    half=st.floats(1e-4, 0.5),
    rows=st.integers(1, 10_000),
    bound=st.floats(0, 1),
)
@MANY
def test_so_many_rows_settle_it(value: float, half: float, rows: int, bound: float) -> None:
    """An interval narrowed by the square root of the rows leaves the bound just then."""
    estimate = Estimate(value, value - half, value + half, rows, 0)
    condition = at_most(bound)
    assume(condition.judge(estimate) is Status.INCONCLUSIVE)
    needed = rows_to_settle(estimate, condition)
    if needed is None:
        assert half >= 9.99 * abs(value - bound) or half > 20 / rows
        return
    for share, settled in ((1.01, True), (0.97, False)):
        narrow = half * math.sqrt(rows / (needed * share + (2 if settled else -2)))
        if needed * share <= 2:
            continue
        status = condition.judge(Estimate(value, value - narrow, value + narrow, 1, 1))
        assert (status is not Status.INCONCLUSIVE) == settled


def test_ignorance_is_not_chance() -> None:
    masked = Estimate(0.1, 0.07, 1.0, 0, 500)
    assert rows_to_settle(masked, at_most(0.2)) is None
    assert rows_to_settle(Estimate(float("nan"), 0, 1, 5, 5), at_most(0.2)) is None
    assert rows_to_settle(Estimate(0.5, 0.4, 0.6, 0, 0), at_most(0.55)) is None
