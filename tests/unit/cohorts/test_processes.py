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
