"""Figures of a cohort's targets."""

from __future__ import annotations

import torch

from safecompress.cohorts.rotation import carried_rate


def test_a_rate_that_few_rows_do_not_carry_is_none():
    scores = torch.linspace(0, 1, 2000, dtype=torch.float64)
    assert carried_rate(scores, scores[:999], 0.01) is None
    assert carried_rate(scores, scores[:1000], 0.01) == 0.505
