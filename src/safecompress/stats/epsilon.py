"""Lower bounds of differential privacy's ε, from guesses about which rows were trained on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

from safecompress.errors import DataError

LARGEST_EPSILON = 36.0
"""Largest ε considered: an accuracy of 1 - 2e-16, which no feasible number of guesses refutes."""
_EXACT = 1e-10
"""Width of the interval of ε at which bisection ends."""


def one_run_p_value(
    correct: int, guesses: int, *, canaries: int, epsilon: float, delta: float
) -> float:
    """Return the probability of at least so many correct guesses if training is (ε, δ)-private.

    In one training run, an independent fair coin decided for every canary whether it was trained
    on.

    Args:
        correct: number of guesses that were right.
        guesses: number of guesses; the auditor may abstain.
        canaries: number of canaries, at least `guesses`.
        epsilon: ε of the guarantee that is tested, at least 0.
        delta: its δ, in [0, 1].

    Returns:
        An upper bound of the p-value, in [0, 1]; small values refute the guarantee.

    Raises:
        DataError: when the counts do not fit together, or a parameter is out of range.

    Reference: Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run", NeurIPS
    2023, theorem 3.1 and its corollary for (ε, δ).
    """
    _check(correct, guesses, canaries, delta)
    if not epsilon >= 0:
        raise DataError(f"epsilon is {epsilon}; expected a number of at least 0.")
    accuracy = 1.0 / (1.0 + math.exp(-epsilon))
    pure = 1.0 if not correct else float(betainc(correct, guesses - correct + 1, accuracy))
    if not delta or not correct:
        return pure
    # Largest over i of the mean of the probabilities of 1 to i fewer correct guesses.
    below = _binomial(np.arange(correct - 1, -1, -1), guesses, accuracy)
    share = float((np.cumsum(below) / np.arange(1, correct + 1)).max())
    return min(1.0, pure + 2.0 * canaries * delta * share)


def one_run_epsilon(
    correct: int,
    guesses: int,
    *,
    canaries: int | None = None,
    delta: float = 0.0,
    level: float = 0.95,
) -> float:
    """Return the largest ε that so many correct guesses refute, 0 where they refute none.

    Args:
        correct: number of guesses that were right.
        guesses: number of guesses.
        canaries: number of canaries; by default all of them were guessed.
        delta: δ of the guarantee, in [0, 1].
        level: one-sided confidence, in (0, 1).

    Returns:
        A lower bound of ε in [0, 36]; higher means a worse leak.

    Raises:
        DataError: when the counts do not fit together, or a parameter is out of range.

    >>> round(one_run_epsilon(100, 100), 2)
    3.49
    """
    coins = guesses if canaries is None else canaries
    _check(correct, guesses, coins, delta)
    if not 0 < level < 1:
        raise DataError(f"level is {level}; expected a number in (0, 1).")

    def excess(epsilon: float) -> float:
        p = one_run_p_value(correct, guesses, canaries=coins, epsilon=epsilon, delta=delta)
        return p - (1.0 - level)

    if excess(0.0) > 0:
        return 0.0
    if excess(LARGEST_EPSILON) <= 0:
        return LARGEST_EPSILON
    low, high = 0.0, LARGEST_EPSILON
    while high - low > _EXACT:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
    return low


def _binomial(k: NDArray[np.intp], n: int, p: float) -> NDArray[np.float64]:
    """Return the probabilities of k successes in n trials of probability 0 < p < 1."""
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p)))


def _check(correct: int, guesses: int, canaries: int, delta: float) -> None:
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise DataError(
            f"{correct} correct of {guesses} guesses about {canaries} canaries; expected "
            "0 ≤ correct ≤ guesses ≤ canaries and at least one guess."
        )
    if not 0 <= delta <= 1:
        raise DataError(f"delta is {delta}; expected a number in [0, 1].")
