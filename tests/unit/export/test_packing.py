"""Streams of gaps and values: what is packed is what is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safecompress.export.packing import (
    GRIDS,
    gap_stream,
    pack_halves,
    quantize,
    step_stream,
)
from safecompress_reader import DamagedFileError, positions_of

GAPS = st.lists(st.integers(0, 1100), max_size=12)


@given(GAPS, st.integers(0, 600))
def test_gaps_lead_back_to_the_weights_that_exist(zeros: list[int], after: int) -> None:
    mask = np.array([bit for z in zeros for bit in [0] * z + [1]] + [0] * after, dtype=bool)
    found = positions_of(gap_stream(mask), mask.size, "w")
    np.testing.assert_array_equal(found, np.flatnonzero(mask))


@given(GAPS, st.integers(0, 600))
def test_the_running_sum_of_steps_says_where_values_go(zeros: list[int], after: int) -> None:
    numbers = [v for i, z in enumerate(zeros) for v in [0] * z + [i + 1]] + [0] * after
    weight = np.array(numbers, dtype=np.int8)
    steps, kept = step_stream(weight)
    assert steps.dtype == np.uint8
    back = np.zeros_like(weight)
    back[np.cumsum(steps.astype(np.int64)) - 1] = kept
    np.testing.assert_array_equal(back, weight)


@pytest.mark.parametrize("gap", [254, 255, 256, 509, 510, 511])
def test_gaps_around_an_escape(gap: int) -> None:
    mask = np.zeros(gap + 1, dtype=bool)
    mask[gap] = True
    assert positions_of(gap_stream(mask), mask.size, "w").tolist() == [gap]
    assert len(gap_stream(mask)) == 1 + gap // 255
    weight = mask.astype(np.float32)
    steps, kept = step_stream(weight)
    assert int(steps.astype(int).sum()) == gap + 1
    assert np.count_nonzero(kept) == 1


def test_gaps_that_lead_beyond_the_end_are_refused() -> None:
    mask = np.zeros(300, dtype=bool)
    mask[[0, 299]] = True
    with pytest.raises(DamagedFileError, match="position 300 of 299"):
        positions_of(gap_stream(mask), 299, "w")


@pytest.mark.parametrize("kind", list(GRIDS))
def test_rounding_keeps_zeros_and_errs_by_half_a_step(kind: str) -> None:
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(16, 3, 5)).astype(np.float32)
    weight[draw.random(weight.shape) < 0.7] = 0
    weight[3] = 0
    found = quantize(weight, kind)
    assert np.abs(found.values).max() == GRIDS[kind]
    assert not found.values[weight == 0].any()
    error = np.abs(found.values * found.scale[:, None, None] - weight)
    assert (error <= 0.5001 * found.scale[:, None, None]).all()


@pytest.mark.parametrize("kind", list(GRIDS))
def test_a_weight_on_a_grid_is_met_exactly(kind: str) -> None:
    draw = np.random.default_rng(1)
    most = GRIDS[kind]
    whole = draw.integers(-most, most + 1, size=(8, 40)).astype(np.int8)
    whole[:, 0] = most
    scale = draw.uniform(0.01, 1, size=8).astype(np.float32)
    found = quantize(whole * scale[:, None], kind)
    np.testing.assert_array_equal(found.values, whole)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-6)


@given(st.lists(st.integers(-7, 7), max_size=9))
def test_halves_of_bytes(values: list[int]) -> None:
    packed = pack_halves(np.array(values, np.int8))
    halves = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1).astype(int) - 8
    assert halves[: len(values)].tolist() == values
    assert not halves[len(values) :].any()
