"""Exact selection and schedules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.errors import ConfigError
from safecompress.sparse import FractionPlan, drop_fraction
from safecompress.sparse.selection import largest, smallest
from tests.support import count


@settings(max_examples=count(200, 5000))
@given(values=st.lists(st.integers(-4, 4), max_size=40), n=st.integers(0, 45))
def test_selection_is_a_stable_sort_cut_short(values, n):
    n = min(n, len(values))
    tensor = torch.tensor(values, dtype=torch.float32)
    lowest = sorted(range(len(values)), key=lambda i: (values[i], i))[:n]
    highest = sorted(range(len(values)), key=lambda i: (-values[i], i))[:n]
    assert smallest(tensor, n).tolist() == sorted(lowest)
    assert largest(tensor, n).tolist() == sorted(highest)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8]
)
def test_selection_of_every_type(dtype):
    values = torch.tensor([3, 1, 2, 1, 5]).to(dtype)
    assert smallest(values, 2).tolist() == [1, 3]
    assert largest(values, 2).tolist() == [0, 4]


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 12_500, 25_000, 199_999])
@pytest.mark.parametrize("kind", ["spread", "ties", "equal", "rising", "falling", "rare"])
def test_selection_among_many_is_a_stable_sort_cut_short(kind, n):
    g = torch.Generator().manual_seed(n)
    size = 200_000
    values = {
        "spread": torch.randn(size, generator=g),
        "ties": torch.randint(50, (size,), generator=g).float(),
        "equal": torch.ones(size),
        "rising": torch.arange(size).float(),
        "falling": -torch.arange(size).float(),
        # All that is small lies between the places that a regular sample looks at.
        "rare": torch.where(torch.arange(size) % 6 == 1, -1.0, torch.rand(size, generator=g)),
    }[kind]
    lowest = torch.sort(values, stable=True).indices[:n].sort().values
    highest = torch.sort(values, stable=True, descending=True).indices[:n].sort().values
    assert torch.equal(smallest(values, n), lowest)
    assert torch.equal(largest(values, n), highest)


def test_selection_leaves_its_input_alone():
    values = torch.tensor([3.0, 1.0, 2.0])
    smallest(values, 2)
    largest(values, 2)
    assert values.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("schedule", "fractions"),
    [
        ("cosine", [0.4, 0.1 + 0.3 * (1 + 2**-0.5) / 2, 0.25, 0.1]),
        ("linear", [0.4, 0.325, 0.25, 0.1]),
        ("constant", [0.4, 0.4, 0.4, 0.4]),
    ],
)
def test_schedules_by_hand(schedule, fractions):
    found = [drop_fraction(p, start=0.4, end=0.1, schedule=schedule) for p in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx(fractions)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_a_plan_starts_and_ends_where_it_says(schedule):
    plan = FractionPlan(0.3, 0.005, schedule)
    assert plan.at(0.0) == 0.3
    assert plan.at(1.0) == (0.3 if schedule == "constant" else 0.005)
    steps = [plan.at(i / 20) for i in range(21)]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_outside_the_period_is_refused(progress):
    with pytest.raises(ConfigError, match="progress is"):
        FractionPlan().at(progress)


def test_unknown_schedules_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'linear'"):
        drop_fraction(0.5, start=0.3, end=0.1, schedule="liner")
    with pytest.raises(ConfigError, match=r"start is 1\.5"):
        drop_fraction(0.5, start=1.5, end=0.1, schedule="linear")
