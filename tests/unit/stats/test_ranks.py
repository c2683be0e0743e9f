"""`midranks` against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from safecompress.stats.ranks import midranks


@pytest.mark.parametrize("values", [1, 3, 50])
@pytest.mark.parametrize("n", [0, 1, 2, 200])
def test_ranks_are_scipys(values: int, n: int) -> None:
    drawn = np.random.default_rng(n + values).integers(0, values, n).astype(np.float64)
    drawn[: n // 20] = np.inf
    np.testing.assert_array_equal(midranks(drawn), rankdata(drawn))
