"""Rows are numbered alike exactly where all their entries are equal."""

from __future__ import annotations

import numpy as np
import pytest

from safecompress.data import equal_rows
from safecompress.data.equal_rows import first_equal


def naive(groups: list[list[np.ndarray]]) -> list[int]:
    rows = [
        tuple(np.concatenate([c[i].ravel() for c in columns]))
        for columns in groups
        for i in range(len(columns[0]))
    ]
    return [rows.index(row) for row in rows]


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
@pytest.mark.parametrize("collide", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_first_equal_row_is_found_through_all_groups(
    seed: int, collide: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    dtype = random.choice([np.float32, np.float64])
    width = int(random.integers(1, 4))

    def group(n: int) -> list[np.ndarray]:
        floats = random.integers(-1, 2, (n, width, 1)).astype(dtype)
        floats[floats == 0] *= random.choice([-1, 1])
        return [floats, random.integers(0, 2, n), random.integers(0, 2, (n, 1)).astype(np.uint8)]

    groups = [group(n) for n in (40, 0, 17)]
    monkeypatch.setattr(equal_rows, "_BLOCK", block)
    if collide:
        monkeypatch.setattr(equal_rows, "_digests", lambda words: words[:, 0] % np.uint64(2))
    assert first_equal(groups).tolist() == naive(groups)


def test_a_change_of_any_bit_parts_two_rows() -> None:
    row = np.random.default_rng(0).normal(size=(1, 5)).view(np.uint64)
    changed = np.repeat(row, 5 * 64, axis=0)
    for i in range(5 * 64):
        changed[i, i // 64] ^= np.uint64(1 << (i % 64))
    assert len(np.unique(equal_rows._digests(np.concatenate([row, changed])))) == 321


def test_columns_without_entries_tell_no_rows_apart() -> None:
    assert first_equal([[np.zeros((3, 0))]]).tolist() == [0, 0, 0]


def test_no_rows_have_no_numbers() -> None:
    assert first_equal([[np.zeros((0, 2))]]).tolist() == []
