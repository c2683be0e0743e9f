"""Laws of canaries: who guesses coins shows no ε that is not there, and most of one that is."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binom

from safecompress.checks.canaries import SHARES, CanaryScores, calibrated_scores, guess
from safecompress.protocols import Outputs, log_odds
from safecompress.randomness import generator
from safecompress.stats import one_run_epsilon
from tests.support import count


def _coins(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, generator=generator(seed, "coins")) < 0.5


def _responses(n: int, *, epsilon: float, seed: int) -> CanaryScores:
    """Return what randomized response says of every coin: it is ε-private and nothing less."""
    included = _coins(n, seed)
    truthful = 1 / (1 + math.exp(-epsilon))
    told = torch.rand(n, generator=generator(seed, "told"), dtype=torch.float64) < truthful
    tie = torch.rand(n, generator=generator(seed, "tie"), dtype=torch.float64)
    return CanaryScores((included == told).double() + 0.1 * tie, included, delta=0.0)


@pytest.mark.parametrize("n", [10, 50, 400])
def test_scores_that_know_nothing_show_nothing_in_95_of_100_draws(n):
    draws = count(400, 4000)
    found = sum(
        guess(
            CanaryScores(
                torch.randn(n, generator=generator(seed, "noise"), dtype=torch.float64),
                _coins(n, seed),
                delta=0.0,
            ),
            level=0.95,
        ).epsilon
        > 0
        for seed in range(draws)
    )
    assert found <= binom.ppf(0.9999, draws, 0.05)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_the_bound_exceeds_the_epsilon_of_randomized_response_in_at_most_5_of_100(epsilon):
    draws = count(200, 2000)
    bounds = [
        guess(_responses(200, epsilon=epsilon, seed=seed), level=0.95).epsilon
        for seed in range(draws)
    ]
    assert sum(bound > epsilon for bound in bounds) <= binom.ppf(0.9999, draws, 0.05)
    # And it is of use: with 200 canaries it shows most of an ε worth showing.
    assert sum(bounds) / draws > 0.5 * epsilon - 0.2


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_without_an_error_the_bound_is_that_of_all_guesses_at_the_corrected_level(n):
    included = _coins(n, 1)
    order = included.double().sort().values.bool()
    half = n // 2
    balanced = torch.arange(n) >= n - half
    found = guess(CanaryScores(torch.arange(n).double(), balanced, delta=0.0), level=0.95)
    assert found.correct == found.number == 2 * half
    assert found.epsilon == pytest.approx(
        one_run_epsilon(2 * half, 2 * half, level=1 - 0.05 / len(SHARES))
    )
    # Whatever the coins, no set of guesses shows more.
    other = guess(CanaryScores(torch.arange(n).double(), order, delta=0.0), level=0.95)
    assert other.epsilon <= found.epsilon


def test_a_larger_delta_and_a_higher_level_show_less():
    included = _coins(300, 3)
    noise = torch.randn(300, generator=generator(3, "noise"), dtype=torch.float64)
    bounds = [
        guess(CanaryScores(2.0 * included + noise, included, delta), level=level).epsilon
        for delta, level in ((0.0, 0.9), (0.0, 0.95), (1e-5, 0.95), (1e-3, 0.95), (1e-3, 0.99))
    ]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > 1


def test_what_more_canaries_would_show_is_never_below_the_bound():
    for seed in range(50):
        found = guess(_responses(60, epsilon=0.1 * seed, seed=seed), level=0.95)
        assert found.at_most >= found.epsilon


@pytest.mark.parametrize("mislabeled", [True, False])
def test_calibrated_scores_do_not_see_which_classes_a_model_favors(mislabeled):
    """The truth of a mislabeled canary is another class, and a favored class gets more anyway."""
    draw = generator(0, "canaries")
    truth = torch.randint(4, (4000,), generator=draw)
    logits = torch.randn(4000, 4, generator=draw) + torch.tensor([3.0, 0.0, 0.0, 0.0])
    logits[torch.arange(4000), truth] += 1.0
    given = (truth + torch.randint(1, 4, (4000,), generator=draw)) % 4 if mislabeled else truth
    canaries = torch.arange(4000) < 2000
    ids = torch.arange(4000)
    said = Outputs(logits[canaries], given[canaries], ids[canaries])
    others = Outputs(logits[~canaries], truth[~canaries], ids[~canaries])

    def spread(scores: torch.Tensor) -> float:
        means = [float(scores[said.labels == c].mean()) for c in range(4)]
        return max(means) - min(means)

    assert spread(log_odds(said.logits.double(), said.labels)) > 2.0
    assert spread(calibrated_scores(said, others, mislabeled=mislabeled)) < 0.4


def test_canaries_of_a_class_that_nobody_else_has_keep_their_log_odds():
    said = Outputs(
        torch.randn(6, 3, generator=generator(0, "alone")), torch.full((6,), 2), torch.arange(6)
    )
    others = Outputs(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]), torch.arange(6, 10))
    assert torch.equal(
        calibrated_scores(said, others, mislabeled=False),
        log_odds(said.logits.double(), said.labels),
    )
