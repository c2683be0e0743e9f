"""`Read`, `Sizes`, `of_stand_ins`, `of_target`: the numbers of whole answers, row by row.

Every row is compared with the same number of references of a kind, drawn by lot: their counts would
tell members without any leak. A reference that stands in for the target faces the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from safecompress.attacks.lots import Words, drawn, row_keys, salts
from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.whole_answers import Answers, Facing, numbers
from safecompress.errors import MissingEvidenceError
from safecompress.protocols import Outputs, ReferenceLogits, References

SEED = 0
"""Seed of the draws among references. Draws are hashes of what the references say, so that one seed
serves all audits."""
_NAME = "learnt-references"
_BLOCK = 1 << 19
"""Numbers of one table of a block of rows, 4 MB in float64."""
FEWEST = 24
"""Fewest examples of either kind to learn from."""


class Sizes(NamedTuple):
    """How many references each row is compared with; the same number for every row.

    Counts of references would tell members without any leak: where each row is in exactly half of
    all training sets, fewer of the other models saw a row that the target saw.

    Args:
        outside: number of references that did not see the row, at least 1.
        inside: number of references that saw it; 0 where rows have too few of them.
    """

    outside: int
    inside: int

    @classmethod
    def of(cls, seen: Tensor) -> Sizes:
        """Return the largest numbers than which about three quarters of the rows have one more.

        The one more is spare, for a reference that stands in for the target is missing from one of
        the two kinds; which of them must not show.

        Args:
            seen: bool (k, n), which references saw which row.
        """
        outside, inside = (
            int(np.quantile(mask.sum(dim=0).numpy(), 0.25, method="lower")) - 1
            for mask in (~seen, seen)
        )
        return cls(max(1, outside), max(0, inside))

    def carried_by(self, seen: Tensor) -> Tensor:
        """Return the rows that have enough references with any one of them left out, bool (n,).

        Args:
            seen: bool (k, n), which references saw which row.
        """
        return ((~seen).sum(dim=0) > self.outside) & (seen.sum(dim=0) > self.inside)


def can_stand_in(seen: Tensor) -> bool:
    """Return whether the references can stand in for the target, so that one can learn on them.

    Args:
        seen: bool (k, n), which references saw which row.
    """
    saw = seen[:, Sizes.of(seen).carried_by(seen)]
    return min(int(saw.sum()), int((~saw).sum())) >= FEWEST


class Read(NamedTuple):
    """References with their logits and the keys of their rows."""

    references: References
    logits: ReferenceLogits
    keys: Words

    @classmethod
    def of(cls, references: References, *, attack: str) -> Read:
        if references.logits is None:
            raise MissingEvidenceError(
                f"{attack}: the references' log-odds of the labels are known, and it needs their "
                "whole answers; give the references' logits."
            )
        return cls(references, references.logits, row_keys(references.log_odds))

    def take(self, index: Tensor) -> Read:
        return Read(self.references.take(index), self.logits.take(index), self.keys[index.numpy()])

    def blocks(self, judged: int) -> Iterator[slice]:
        """Yield blocks of rows whose tables of `judged` models and all references stay small."""
        width = self.logits.count * max(self.logits.classes, judged)
        size = max(1, _BLOCK // width)
        for start in range(0, len(self.keys), size):
            yield slice(start, min(start + size, len(self.keys)))

    def answers(self, rows: slice) -> Answers:
        return Answers.of(self.logits.block(rows), self.references.log_odds[:, rows])


def of_stand_ins(read: Read, sizes: Sizes) -> Tensor:
    """Return the numbers of every reference as if it were the target, float64 (n, k, numbers).

    Args:
        read: the references on n rows that carry `sizes`.
        sizes: how many of the others each row is compared with.
    """
    count = read.logits.count
    outside, inside = (
        np.stack([salts(SEED, _NAME, kind, j, count=count) for j in range(count)])
        for kind in ("stand-in outside", "stand-in inside")
    )
    others = ~torch.eye(count, dtype=torch.bool)
    parts = []
    for rows in read.blocks(count):
        answers, keys = read.answers(rows), read.keys[rows]
        saw = read.references.seen[:, rows].T.unsqueeze(1)
        parts.append(
            numbers(
                answers,
                answers,
                Facing.of(answers, answers),
                outside=drawn(keys, outside, ~saw & others, size=sizes.outside),
                inside=drawn(keys, inside, saw & others, size=sizes.inside)
                if sizes.inside
                else None,
            )
        )
    return torch.cat(parts)


def of_target(read: Read, outputs: Outputs, sizes: Sizes, *, seed: int, draws: int) -> Tensor:
    """Return the numbers of the target on every row for some draws, float64 (draws, n, numbers).

    Args:
        read: the references on n rows.
        outputs: the target's outputs on the same rows.
        sizes: how many references each row is compared with, or fewer where it has fewer.
        seed: seed of the draws.
        draws: number of draws.
    """
    count = read.logits.count
    odds = outputs.per_row(true_class_log_odds)
    outside, inside = (
        [salts(seed, _NAME, kind, draw, count=count)[None] for draw in range(draws)]
        for kind in ("outside", "inside")
    )
    parts = []
    for rows in read.blocks(1):
        references, keys = read.answers(rows), read.keys[rows]
        target = Answers.of(outputs.logits[rows].unsqueeze(0), odds[rows].unsqueeze(0))
        facing = Facing.of(target, references)
        saw = read.references.seen[:, rows].T.unsqueeze(1)
        each = [
            numbers(
                target,
                references,
                facing,
                outside=drawn(keys, out, ~saw, size=sizes.outside),
                inside=drawn(keys, within, saw, size=sizes.inside) if sizes.inside else None,
            ).squeeze(1)
            for out, within in zip(outside, inside, strict=True)
        ]
        parts.append(torch.stack(each))
    return torch.cat(parts, dim=1)
