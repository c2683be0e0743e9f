"""`with_canaries`: splits some of whose non-members have become canaries."""

from __future__ import annotations

from dataclasses import replace

import torch

from safecompress.data.canaries import Canaries, CanaryKind
from safecompress.data.rows import concatenate
from safecompress.data.splits import Splits
from safecompress.errors import DataError
from safecompress.protocols import Pool, Rows
from safecompress.randomness import generator, permutation


def with_canaries(splits: Splits, count: int, *, kind: CanaryKind, seed: int) -> Splits:
    """Return splits in which rows of the steering non-members are canaries.

    Which rows, which labels and which coins are functions of the seed alone, so that a run that is
    resumed places the same canaries. Sealed rows stay as they are.

    Args:
        splits: the splits. Where they have canaries already, they are returned as they are.
        count: number of canaries; 0 returns the splits as they are.
        kind: whether canaries get a wrong label.
        seed: the run's seed.

    Raises:
        DataError: when more than half of the steering non-members would be canaries, or there is
            no wrong label.
    """
    if not count or splits.canaries is not None:
        return splits
    others = splits.steer.nonmembers
    if 2 * count > len(others):
        raise DataError(
            f"verdict.canaries.count is {count}, but {len(others)} non-members steer and at most "
            f"half of them can be canaries; take at most {len(others) // 2}, or give more rows."
        )
    order = permutation(len(others), seed, "canaries", "rows")
    rows = _labeled(others.take(order[:count]), splits.classes, kind=kind, seed=seed)
    coins = torch.rand(count, generator=generator(seed, "canaries", "coins")) < 0.5
    canaries = Canaries(rows, coins, kind)
    left = others.take(order[count:].sort().values)
    report = splits.report
    sizes = dict(report.sizes) | {
        "members": len(splits.members) + len(canaries.trained_on),
        "steer.nonmembers": len(left),
        "canaries": count,
    }
    return replace(
        splits,
        members=concatenate(splits.members, canaries.trained_on),
        steer=Pool(splits.steer.members, left),
        report=replace(report, sizes=sizes),
        canaries=canaries,
    )


def _labeled(rows: Rows, classes: int, *, kind: CanaryKind, seed: int) -> Rows:
    """Return the rows with labels drawn from the wrong ones, or as they are."""
    if kind == "natural":
        return rows
    if classes < 2:
        raise DataError("verdict.canaries: there is one class only, so no label is wrong.")
    draw = generator(seed, "canaries", "labels")
    shift = torch.randint(1, classes, (len(rows),), generator=draw)
    return replace(rows, labels=(rows.labels + shift) % classes)
