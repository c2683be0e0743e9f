"""Where a cohort's models are trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.cohorts import processes
from safecompress.config import EngineConfig, ShadowsConfig
from safecompress.events import silent


def asked(count: int, missing: int, *, workers: int, cores: int) -> tuple[int, int]:
    """Return with how many threads the missing models are trained, and by how many processes."""
    seen: list[tuple[int, int]] = []

    def train(numbers: Any, **_: Any) -> None:
        del numbers
        seen.append((torch.get_num_threads(), 1))

    def locally(folder: Any, groups: Any, among: int, threads: int, trained: Any) -> None:
        del folder, groups, trained
        seen.append((threads, among))

    config = SimpleNamespace(engine=EngineConfig(accelerator="cpu"))
    cohort: Any = SimpleNamespace(
        missing=lambda count: list(range(count - missing, count)),
        plan=SimpleNamespace(config=config),
        folder=None,
        train_together=train,
        at_once=lambda model=None: 3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_train_locally", locally)
        patch.setattr(torch, "get_num_threads", lambda: cores)
        where = ShadowsConfig(count=max(count, 4), workers=workers)
        processes.train_cohort(cohort, count, where, listen=silent)
    return seen[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 8), st.integers(1, 16))
def test_a_model_gets_as_many_threads_however_many_are_left(count, missing, workers, cores):
    missing = min(missing, count)
    whole, rest = (asked(count, m, workers=workers, cores=cores) for m in (count, missing))
    assert rest[0] == whole[0]
    assert rest[1] <= missing


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 20))
def test_groups_fit_into_memory_and_keep_every_process_as_busy(models, workers, at_once):
    todo = [3 * k for k in range(models)]
    groups = processes._groups(todo, workers, at_once)
    assert [number for group in groups for number in group] == todo
    sizes = [len(group) for group in groups]
    assert max(sizes) <= at_once
    assert max(sizes) - min(sizes) <= 1
    assert len(groups) == models or len(groups) % workers == 0
