"""Whether a file may be shipped: every combination of its run's verdict and its own tests."""

from __future__ import annotations

from itertools import product

import pytest

from safecompress.checks import EXIT_CODES, CheckResult, Status
from safecompress.export.shipping import Shipping, worst

ENDS = (Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.ERROR)
LIMITS = (None, Status.PASS, Status.FAIL)
EVERY = tuple(product(ENDS, ENDS, ENDS, LIMITS, (False, True)))


def shipping(
    run: Status, own: Status, retest: Status, limit: Status | None, *, allow_failed: bool
) -> Shipping:
    return Shipping(
        run=run,
        run_sentence=f"The run's sentence, {run}.",
        run_steps=() if run is Status.PASS else ("Mend the run.",),
        retest=retest,
        comparisons=(CheckResult("accuracy as before", own, True, "", None, 0.0),),
        limits=() if limit is None else (CheckResult("bytes", limit, True, "", None, 0.0),),
        size=12_345,
        allow_failed=allow_failed,
    )


@pytest.mark.parametrize(("run", "own", "retest", "limit", "allow_failed"), EVERY)
def test_a_file_is_no_better_than_its_model_and_its_tests(
    run: Status, own: Status, retest: Status, limit: Status | None, allow_failed: bool
) -> None:
    made = shipping(run, own, retest, limit, allow_failed=allow_failed)
    failed = run in {Status.FAIL, Status.ERROR} or retest in {Status.FAIL, Status.ERROR}
    sound = own in {Status.PASS, Status.INCONCLUSIVE} and limit is not Status.FAIL
    assert made.shipped == (sound and (allow_failed or not failed))
    assert made.despite == (made.shipped and failed)
    assert (made.status is Status.PASS) == (
        run is own is Status.PASS and limit is not Status.FAIL and not failed
    )
    if Status.FAIL in {run, own, retest, limit}:
        assert made.status in {Status.FAIL, Status.ERROR}
    if run is Status.FAIL:
        assert made.status is Status.FAIL, "nothing hides that the run failed"
    assert bool(made.next_steps) == (made.status is not Status.PASS)
    assert made.faithful == {Status.PASS: True, Status.INCONCLUSIVE: None}.get(own, False)
    assert EXIT_CODES[made.status] == 0 or made.status is not Status.PASS


@pytest.mark.parametrize(("run", "own", "retest", "limit", "allow_failed"), EVERY)
def test_the_words_fit_what_was_done(
    run: Status, own: Status, retest: Status, limit: Status | None, allow_failed: bool
) -> None:
    made = shipping(run, own, retest, limit, allow_failed=allow_failed)
    said = made.sentence
    assert said.startswith("Not shipped") == (not made.shipped)
    assert said.startswith("Shipped although it failed: ") == made.despite
    if run in {Status.FAIL, Status.ERROR}:
        assert made.run_sentence in said
    assert ("faithful to the model: no check" in said) <= bool(made.faithful)
    asked = any("--allow-failed" in step for step in made.next_steps)
    assert asked == (made.failed and not made.shipped and made.own not in {"FAIL", "ERROR"})
    if run is not Status.PASS:
        assert "Mend the run." in made.next_steps


def test_a_fail_is_worse_than_an_error() -> None:
    for first, second in product(ENDS, ENDS):
        assert worst(first, second) is worst(second, first)
        if Status.FAIL in {first, second}:
            assert worst(first, second) is Status.FAIL
        assert worst(first, Status.PASS) is first
