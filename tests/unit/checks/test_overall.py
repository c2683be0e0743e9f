"""How checks and controls become one status: laws over random sets of results."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.checks import CheckResult, Status, overall
from safecompress.checks.controls import not_run
from safecompress.checks.overall import withdrawn

ATTACKS = ["", "loss", "lira", "neural"]


def check(status: Status, attack: str = "", *, critical: bool = True) -> CheckResult:
    return CheckResult(
        f"{attack or 'accuracy'}.auc", status, critical, "", None, 0.0, "", True, attack
    )


def control(status: Status, attack: str = "") -> CheckResult:
    name = f"control: planted leak, {attack}" if attack else "control: blind baseline"
    return CheckResult(name, status, True, "", None, 0.0, "why", True, attack)


checks = st.lists(
    st.builds(check, st.sampled_from(Status), st.sampled_from(ATTACKS), critical=st.booleans()),
    max_size=6,
)
controls = st.lists(
    st.builds(
        control,
        st.sampled_from([Status.PASS, Status.ERROR, Status.NOT_RUN]),
        st.sampled_from(ATTACKS),
    ),
    max_size=6,
)
BROKEN = control(Status.ERROR, "loss")


@pytest.mark.parametrize(
    ("results", "failed", "expected"),
    [
        ([check(Status.FAIL, "lira")], [BROKEN], Status.FAIL),
        ([check(Status.FAIL, "loss")], [BROKEN], Status.ERROR),
        ([check(Status.FAIL, "")], [BROKEN], Status.FAIL),
        ([check(Status.PASS, "lira")], [BROKEN], Status.ERROR),
        ([check(Status.INCONCLUSIVE, "lira")], [BROKEN], Status.ERROR),
        ([check(Status.ERROR, "loss"), check(Status.FAIL, "lira")], [BROKEN], Status.FAIL),
        ([check(Status.ERROR, "neural"), check(Status.FAIL, "lira")], [BROKEN], Status.ERROR),
        ([check(Status.NOT_RUN, "neural"), check(Status.FAIL, "lira")], [BROKEN], Status.ERROR),
        ([check(Status.FAIL, "lira")], [control(Status.ERROR)], Status.ERROR),
        ([check(Status.FAIL, "lira")], [BROKEN, control(Status.ERROR)], Status.ERROR),
        ([check(Status.FAIL, "lira", critical=False)], [BROKEN], Status.ERROR),
        ([check(Status.PASS, "lira")], [control(Status.NOT_RUN, "lira")], Status.PASS),
        ([], [control(Status.PASS)], Status.ERROR),
    ],
)
def test_a_failed_control_takes_away_what_rests_on_it_and_nothing_else(results, failed, expected):
    assert overall(results, failed) is expected
    assert overall(withdrawn(results, failed), failed) is expected


@given(checks, controls)
def test_withdrawing_changes_no_status_of_the_whole(results, held):
    assert overall(withdrawn(results, held), held) is overall(results, held)


@given(checks, controls)
def test_pass_means_that_everything_critical_passed_and_no_control_failed(results, held):
    critical = [r.status for r in results if r.critical]
    passed = bool(critical) and set(critical) <= {Status.PASS, Status.WARN}
    fine = Status.ERROR not in [c.status for c in held]
    assert (overall(results, held) is Status.PASS) == (passed and fine)


@given(checks, controls, st.sampled_from(Status), st.sampled_from(ATTACKS))
def test_one_more_result_never_improves_the_status(results, held, status, attack):
    before = overall(results, held)
    # A first critical check is what a suite needs in order to decide at all.
    if not any(r.critical for r in results):
        return
    after = overall([*results, check(status, attack)], held)
    if before is not Status.PASS:
        assert after is not Status.PASS
    if before is Status.FAIL:
        assert after in {Status.FAIL, Status.ERROR}


@given(checks, controls, st.sampled_from(ATTACKS))
def test_a_failed_control_more_never_turns_anything_into_a_better_status(results, held, attack):
    before, after = overall(results, held), overall(results, [*held, control(Status.ERROR, attack)])
    assert after in {Status.FAIL, Status.ERROR}
    assert after is not Status.FAIL or before is Status.FAIL or before is Status.ERROR


@given(checks, controls)
def test_a_failure_that_stands_on_its_own_is_not_undone_by_controls_of_other_attacks(results, held):
    broken = {c.attack for c in held if c.status is Status.ERROR}
    undone = {Status.ERROR, Status.NOT_RUN}
    standing = [r for r in results if r.critical and r.attack not in broken]
    if (
        "" not in broken
        and any(r.status is Status.FAIL for r in standing)
        and not any(r.status in undone for r in standing)
    ):
        assert overall(results, held) is Status.FAIL


@given(checks, controls, st.permutations(range(6)))
def test_the_order_does_not_matter(results, held, order):
    mixed = [results[i] for i in order if i < len(results)]
    assert overall(mixed, held[::-1]) is overall(results, held)


@given(checks, controls)
def test_only_checks_of_the_attack_are_withdrawn_and_they_name_the_control(results, held):
    broken = {c.attack for c in held if c.status is Status.ERROR} - {""}
    for old, new in zip(results, withdrawn(results, held), strict=True):
        if old.attack in broken:
            message = f"its control failed: planted leak, {old.attack}"
            assert new == replace(old, status=Status.ERROR, message=message)
        else:
            assert new is old


@given(controls)
def test_what_was_not_tested_is_named_once(held):
    names = not_run(held)
    assert len(set(names)) == len(names)
    absent = {c.attack or "blind baseline" for c in held if c.status is Status.NOT_RUN}
    assert set(names) == absent
