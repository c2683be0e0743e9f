"""Made-up results of an attack in which one class may leak."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.protocols import AttackResult, Pool
from safecompress.randomness import generator


def result(
    scores: Pool[Tensor], labels: Pool[Tensor], *, classes: int, judged: bool = False
) -> AttackResult:
    """Return an attack's result; `judged` cuts the scores to the half that is judged."""
    halves = scores.map(lambda s: torch.arange(len(s)) % 2 == 0)
    half = scores.zip(halves, lambda s, mask: s[~mask])
    return AttackResult(
        attack="imagined",
        scores=half if judged else scores,
        ids=scores.map(lambda s: torch.arange(len(s))),
        known=scores.zip(halves, lambda s, mask: s[mask]),
        judged=half,
        labels=labels,
        halves=halves,
        classes=classes,
        knowledge="auditor",
        seconds=0.0,
    )


def groups(
    n: int, *, classes: int, leaking: int | None, seed: int
) -> tuple[Pool[Tensor], Pool[Tensor]]:
    source = generator(seed, "slices")

    def group(shift: float) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (n,), generator=source)
        scores = torch.randn(n, generator=source, dtype=torch.float64)
        return scores + shift * (labels == (-1 if leaking is None else leaking)), labels

    (inside, first), (outside, second) = group(2.0), group(0.0)
    return Pool(inside, outside), Pool(first, second)
