"""What a number of rows can tell: the published half-widths, and honesty about too few rows."""

from __future__ import annotations

import pytest

from safecompress.errors import ConfigError, UndecidableError
from safecompress.stats import (
    auc_half_width,
    clopper_pearson,
    proportion_half_width,
    smallest_detectable_auc,
)


@pytest.mark.parametrize(("n", "expected"), [(1_000, 0.025), (5_000, 0.011), (10_000, 0.008)])
def test_half_width_of_an_auc_of_60_percent(n, expected):
    assert round(auc_half_width(0.6, n, n), 3) == expected


def test_more_rows_tell_more():
    sizes = (50, 500, 5_000, 50_000)
    detectable = [smallest_detectable_auc(n, n) for n in sizes]
    assert detectable == sorted(detectable, reverse=True)
    assert 0.5 < detectable[-1] < 0.51
    assert smallest_detectable_auc(100, 5_000) < smallest_detectable_auc(100, 100)


def test_a_stricter_alarm_sees_less():
    assert smallest_detectable_auc(500, 500, level=0.999) > smallest_detectable_auc(500, 500)


@pytest.mark.parametrize(("m", "n", "level"), [(1, 1, 0.95), (5, 5, 0.95), (5, 1000, 0.999)])
def test_too_few_rows_detect_nothing(m, n, level):
    with pytest.raises(UndecidableError, match="use more rows"):
        smallest_detectable_auc(m, n, level=level)


@pytest.mark.parametrize(("successes", "n"), [(0, 100), (3, 50), (50, 100)])
def test_proportion_half_width_is_that_of_the_exact_interval(successes, n):
    exact = clopper_pearson(successes, n, level=0.9)
    expected = (exact.high - exact.low) / 2
    assert proportion_half_width(successes / n, n, level=0.9) == pytest.approx(expected)


def test_bad_questions_are_refused():
    with pytest.raises(UndecidableError, match="at least one"):
        auc_half_width(0.6, 0, 10)
    with pytest.raises(UndecidableError, match="at least one"):
        proportion_half_width(0.5, 0)
    with pytest.raises(ConfigError, match="auc"):
        auc_half_width(1.2, 10, 10)
    with pytest.raises(ConfigError, match="p:"):
        proportion_half_width(-0.2, 10)
