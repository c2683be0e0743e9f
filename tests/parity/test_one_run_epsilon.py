"""The one-run bound against published values and a literal transcription."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binom

from safecompress.errors import DataError
from safecompress.stats import one_run_epsilon, one_run_p_value


@pytest.mark.parametrize(
    ("guesses", "right", "expected"),
    [
        (100, 1.0, 3.49),
        (1000, 1.0, 5.81),
        (5000, 1.0, 7.42),
        (200, 0.7, 0.58),
        (1000, 0.7, 0.73),
        (5000, 0.7, 0.80),
        (200, 0.6, 0.16),
        (1000, 0.6, 0.30),
        (5000, 0.6, 0.36),
    ],
)
def test_golden_values(guesses: int, right: float, expected: float) -> None:
    found = one_run_epsilon(round(guesses * right), guesses)
    assert found == pytest.approx(expected, abs=0.006)


def literal(correct: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    beta = sum(
        math.comb(guesses, k) * q**k * (1 - q) ** (guesses - k) for k in range(correct, guesses + 1)
    )
    best = 0.0
    for i in range(1, correct + 1):
        between = sum(binom.pmf(k, guesses, q) for k in range(correct - i, correct))
        best = max(best, between / i)
    return min(1.0, beta + 2 * canaries * delta * best)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-2])
@pytest.mark.parametrize(
    ("correct", "guesses", "canaries"), [(0, 5, 9), (30, 40, 100), (40, 40, 40)]
)
def test_p_values_equal_a_literal_transcription(
    correct: int, guesses: int, canaries: int, epsilon: float, delta: float
) -> None:
    found = one_run_p_value(correct, guesses, canaries=canaries, epsilon=epsilon, delta=delta)
    assert found == pytest.approx(literal(correct, guesses, canaries, epsilon, delta), rel=1e-9)


def test_the_bound_is_where_the_p_value_meets_the_level() -> None:
    found = one_run_epsilon(80, 100, canaries=300, delta=1e-6, level=0.9)
    p = one_run_p_value(80, 100, canaries=300, epsilon=found, delta=1e-6)
    assert p == pytest.approx(0.1, abs=1e-6)
    assert one_run_epsilon(80, 100, canaries=300, delta=1e-3, level=0.9) < found
    assert one_run_epsilon(50, 100) == 0.0
    assert one_run_epsilon(0, 100) == 0.0


@pytest.mark.parametrize(
    ("correct", "guesses", "options"),
    [
        (5, 4, {}),
        (-1, 4, {}),
        (0, 0, {}),
        (2, 4, {"canaries": 3}),
        (2, 4, {"delta": 1.5}),
        (2, 4, {"level": 1.0}),
    ],
)
def test_counts_that_do_not_fit_are_refused(correct, guesses, options) -> None:
    with pytest.raises(DataError):
        one_run_epsilon(correct, guesses, **options)
