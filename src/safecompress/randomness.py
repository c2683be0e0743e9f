"""Counter-based randomness: every random decision is a pure function of the seed and its own name.

No generator carries state from one decision to the next, so nothing has to be checkpointed and a
run that is resumed, or whose candidates are trained in another order, draws the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the decision called `names` under the run's `seed`.

    >>> derive(0, "epoch", 1) == derive(0, "epoch", 1) != derive(0, "epoch", 2)
    True
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(n).__name__}:{n}" for n in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator seeded with `derive(seed, *names)`."""
    return torch.Generator().manual_seed(derive(seed, *names))


def permutation(n: int, seed: int, *names: str | int) -> torch.Tensor:
    """Return a random permutation of `0 … n-1`, int64, fixed by the seed and the names."""
    return torch.randperm(n, generator=generator(seed, *names))


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block under torch's global generators seeded for `names`; restore them afterwards.

    For code whose randomness cannot be passed a generator: module initialization and dropout.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *names))
        yield
