"""Positions from all over a sequence."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from safecompress.spacing import evenly_spaced


@given(count=st.integers(0, 2**40), most=st.integers(1, 600))
def test_positions_are_distinct_and_reach_both_ends(count: int, most: int) -> None:
    found = evenly_spaced(count, most).tolist()
    assert len(found) == min(count, most)
    steps = [after - before for before, after in pairwise(found)]
    assert all(step >= 1 for step in steps)
    assert max(steps, default=0) - min(steps, default=0) <= 1
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, count - 1)


def test_a_single_position_is_the_last() -> None:
    assert evenly_spaced(7, 1).tolist() == [6]
