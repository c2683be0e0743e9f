"""Resamples of the rows near a threshold have the distribution of resamples of all rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from safecompress.stats._tail_bootstrap import tpr_differences
from safecompress.stats.low_fpr import tpr_at_fpr


def models(n: int, *, rounded: bool) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    random = np.random.default_rng(n)
    shared = [random.normal(size=n) + leak for leak in (0.5, 0.0)]
    own = [[side + random.normal(size=n) / 2 for side in shared] for _ in range(2)]
    if rounded:
        own = [[np.round(side) for side in model] for model in own]
    return tuple(own[0]), tuple(own[1])


def resampled_in_full(a, b, *, fpr: float, count: int) -> np.ndarray:
    random, draws = np.random.default_rng(9), []
    for _ in range(count):
        rows = [random.integers(0, len(side), len(side)) for side in a]
        of_a, of_b = (
            tpr_at_fpr(*(side[r] for side, r in zip(model, rows, strict=True)), fpr=fpr)
            for model in (a, b)
        )
        draws.append(of_a - of_b)
    return np.asarray(draws)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("n", "fpr"), [(300, 0.05), (2000, 0.01), (2000, 0.2)])
def test_the_draws_are_those_of_resampling_every_row(n: int, fpr: float, rounded: bool) -> None:
    a, b = models(n, rounded=rounded)
    draws = tpr_differences(a, b, fpr=fpr, count=1000, seed=0)
    full = resampled_in_full(a, b, fpr=fpr, count=500)
    assert ks_2samp(draws, full).pvalue > 1e-3
    assert np.quantile(draws, [0.025, 0.975]) == pytest.approx(
        np.quantile(full, [0.025, 0.975]), abs=0.35 * full.std()
    )


def test_equal_models_never_differ_and_seeds_repeat() -> None:
    a, b = models(500, rounded=False)
    assert not tpr_differences(a, a, fpr=0.05, count=50, seed=1).any()
    one, again, other = (tpr_differences(a, b, fpr=0.05, count=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
