"""What an accusation is worth."""

from __future__ import annotations

import pytest

from safecompress.verdicts.leak_by_class import accusations
from tests.attack_results import groups, result


def test_the_worth_of_an_accusation_falls_with_the_prior() -> None:
    scores, labels = groups(2000, classes=1, leaking=0, seed=2)
    rare, frequent = accusations(result(scores, labels, classes=1))
    assert (rare.prior, frequent.prior) == (0.01, 0.1)
    assert rare.tpr == frequent.tpr
    for each in (rare, frequent):
        caught = each.prior * each.tpr
        accused = caught + (1 - each.prior) * each.fpr
        assert each.precision == pytest.approx(caught / accused)
    assert rare.precision < frequent.precision


def test_too_few_rows_carry_no_such_rate() -> None:
    scores, labels = groups(50, classes=1, leaking=0, seed=3)
    assert accusations(result(scores, labels, classes=1)) == ()
