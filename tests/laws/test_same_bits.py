"""A repeated run ends in the same bits: no decision depends on the clock or on the load."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.reproduce import busy, digests
from torch import nn

from safecompress import compress, splits_from_arrays
from tests.support import count

TRAIN = {"epochs": 2, "lr": 0.05, "batch_size": 40}
RUNS: dict[str, dict[str, Any]] = {
    "default": {},
    "stacked and transformed": {
        "steer": {
            "search": "every-round",
            "proposals": ["rigl", "set", {"quantize": {"bits": 8, "mask": "rigl"}}, "keep"],
        }
    },
    "shadows": {"steer": {"proposals": ["rigl"]}, "shadows": {"count": 4, "workers": 1}},
}


def model() -> nn.Module:
    # A step of 40 rows has 29 million multiplications: enough for bf16 where the processor has it.
    return nn.Sequential(nn.Linear(24, 900), nn.ReLU(), nn.Linear(900, 780), nn.Linear(780, 4))


def run(config: dict[str, Any], out: Path) -> dict[str, str]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count(280, 400), 24, generator=draw)
    splits = splits_from_arrays(x.numpy(), x[:, :4].argmax(1).numpy(), seed=0)
    base = {
        "dense": {"epochs": count(2, 60)},
        "sparse": {"density": 0.3, "rounds": 2, "train": TRAIN},
        "seed": 3,
    }
    compress(model, splits, config=base | config, out=out)
    return digests(out)


@contextmanager
def lying_clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every clock jump ahead at random, while another process keeps the machine busy."""
    draw, now = random.Random(1), [time.time()]

    def lie() -> float:
        now[0] += draw.expovariate(0.1)
        return now[0]

    with busy(1), monkeypatch.context() as patch:
        for name in ("perf_counter", "monotonic", "time", "process_time"):
            patch.setattr(time, name, lie)
        yield


@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_a_busy_machine_with_lying_clocks_ends_in_the_same_bits(
    name, tmp_path, monkeypatch
):
    first = run(RUNS[name], tmp_path / "first")
    with lying_clocks(monkeypatch):
        again = run(RUNS[name], tmp_path / "again")
    assert first == again
    assert {"model.safetensors", "history.jsonl", "verdict.json"} <= first.keys()
    assert len(first) > 4
