"""Many runs in one process: nothing is left open, and nothing of a run stays reachable."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import soak

from safecompress import Splits
from tests.small_runs import brisk

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

WARM_UP = 4
MOST_GROWTH = 0.25 * 4 * soak.ROWS * soak.WIDTH
"""Bytes of memory a run may leave behind on average: a quarter of its rows. The allocator's own
growth is a tenth of that (benchmarks/results/soak.jsonl); a run that stays reachable is four times
it."""


@pytest.fixture(autouse=True)
def _brisk() -> Iterator[None]:
    with brisk():
        yield


def growth(series: list[dict[str, Any]], name: str) -> float:
    """Return the growth per run after the warm-up."""
    settled = series[WARM_UP:]
    return float(settled[-1][name] - settled[0][name]) / (len(settled) - 1)


def test_eleven_runs_leave_nothing_behind() -> None:
    series = list(soak.soak(11))
    for name in soak.FLAT:
        assert len({measured[name] for measured in series[WARM_UP:]}) == 1, name
    assert growth(series, "objects") < 1
    assert growth(series, "rss") < MOST_GROWTH


def test_the_soak_sees_a_run_that_stays_reachable() -> None:
    kept: list[Any] = []

    def leaking(folder: Path, splits: Splits) -> None:
        kept.append((splits, os.open(os.devnull, os.O_RDONLY)))
        soak.failed(folder, splits)

    series = list(soak.soak(7, kinds=[leaking]))
    assert growth(series, "files") == 1
    assert growth(series, "objects") >= 1
    # No word on the resident size: what earlier tests freed hides a leak that fits into it.
    for _, handle in kept:
        os.close(handle)
