"""Named randomness: every random decision is a pure function of the seed and the decision's name.

No generator keeps a state from one decision to the next. So no state has to be saved, and a run
that is resumed, or that trains its candidates in another order, draws the same numbers.

`generator` and `permutation` draw for one decision, `derive` makes the seed of another, and
`seeded` fixes the global generators for a block whose code draws from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: str | int) -> int:
    """Return the seed of one random decision, an integer in [0, 2**63).

    Args:
        seed: the run's seed.
        names: the decision's name; 1 and "1" differ.

    >>> derive(0, "epoch", 1) == derive(0, "epoch", 1) != derive(0, "epoch", 2)
    True
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(n).__name__}:{n}" for n in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a new CPU generator for one random decision.

    Args:
        seed: the run's seed.
        names: the decision's name, as `derive` takes it.
    """
    return torch.Generator().manual_seed(derive(seed, *names))


def permutation(n: int, seed: int, *names: str | int) -> torch.Tensor:
    """Return a random permutation of 0 … n - 1, int64 (n,).

    Args:
        n: number of entries.
        seed: the run's seed.
        names: the decision's name, as `derive` takes it.
    """
    return torch.randperm(n, generator=generator(seed, *names))


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block with torch's global generators seeded, and restore them afterwards.

    It is for code that takes no generator: initialization of modules, and dropout.

    Args:
        seed: the run's seed.
        names: the decision's name, as `derive` takes it.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        if torch.accelerator.is_available():
            torch.manual_seed(derive(seed, *names))
        else:
            # `torch.manual_seed` would also note a stack trace for every accelerator that is not
            # there, which takes longer than a step of a small network.
            torch.default_generator.manual_seed(derive(seed, *names))
        yield
