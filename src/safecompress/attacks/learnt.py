"""`LearntReferencesAttack`, `LearntKnownRowsAttack`: what a member's whole answer looks like.

Other attacks with reference models compare the log-odds of the label. These two read numbers of the
whole answer (`whole_answers`) and learn which of them tell members. The first learns it on the
references themselves: each in turn stands in for the target, the others are its references, and of
it the membership is known. So it never reads the membership of a row in the target's training set,
and all rows can be judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from safecompress.attacks.lots import Words, drawn, row_keys, salts, shuffled
from safecompress.attacks.metric import true_class_log_odds
from safecompress.attacks.options import require_at_least
from safecompress.attacks.quadratic import Quadratic
from safecompress.attacks.registry import ATTACKS
from safecompress.attacks.whole_answers import Answers, Facing, numbers
from safecompress.errors import MissingEvidenceError, UndecidableError
from safecompress.protocols import Attack, Evidence, Pool, ReferenceLogits, References

_NAME = "learnt-references"
_SEED = 0
"""Seed of the draws of references. They are hashes of what the references say, so that one seed
serves all audits."""
_BLOCK = 1 << 19
"""Numbers of one table of a block of rows, 4 MB in float64."""
FEWEST = 24
"""Fewest rows of either group to learn from."""
_COST = "about 1 s for 16 references × 10,000 rows × 100 classes on one core, once they are trained"


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
        enough = (~seen).sum(dim=0) > self.outside
        return enough & (seen.sum(dim=0) > self.inside) if self.inside else enough


class Learnt(NamedTuple):
    """What the attack has learned.

    Args:
        regression: maps the numbers of a row to the log-odds of "member".
        sizes: how many references each row is compared with.
        silent: the score of rows that every reference saw, of which nothing is known.
        seed: seed of the draws of references.
    """

    regression: Quadratic
    sizes: Sizes
    silent: float
    seed: int


class _Read(NamedTuple):
    """References with their logits and the keys of their rows."""

    references: References
    logits: ReferenceLogits
    keys: Words

    @classmethod
    def of(cls, references: References, *, attack: str) -> _Read:
        if references.logits is None:
            raise MissingEvidenceError(
                f"{attack}: the references' log-odds of the labels are known, and it needs their "
                "whole answers; give the references' logits."
            )
        return cls(references, references.logits, row_keys(references.log_odds))

    def take(self, index: Tensor) -> _Read:
        return _Read(self.references.take(index), self.logits.take(index), self.keys[index.numpy()])

    def blocks(self, judged: int) -> Iterator[slice]:
        """Yield blocks of rows whose tables of `judged` models and all references stay small."""
        width = self.logits.count * max(self.logits.classes, judged)
        size = max(1, _BLOCK // width)
        for start in range(0, len(self.keys), size):
            yield slice(start, min(start + size, len(self.keys)))

    def answers(self, rows: slice) -> Answers:
        return Answers.of(self.logits.block(rows), self.references.log_odds[:, rows])


def of_stand_ins(read: _Read, sizes: Sizes) -> Tensor:
    """Return the numbers of every reference as if it were the target, float64 (n, k, numbers).

    Args:
        read: the references on n rows that carry `sizes`.
        sizes: how many of the others each row is compared with.
    """
    count = read.logits.count
    outside, inside = (
        np.stack([salts(_SEED, _NAME, kind, j, count=count) for j in range(count)])
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


def of_target(read: _Read, evidence: Evidence, sizes: Sizes, *, seed: int, draws: int) -> Tensor:
    """Return the numbers of the target on every row for some draws, float64 (draws, n, numbers).

    Args:
        read: the references on n rows.
        evidence: the target's outputs on the same rows.
        sizes: how many references each row is compared with, or fewer where it has fewer.
        seed: seed of the draws.
        draws: number of draws.
    """
    count, outputs = read.logits.count, evidence.outputs
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


def can_stand_in(seen: Tensor) -> bool:
    """Return whether the references can stand in for the target, so that one can learn on them.

    Args:
        seen: bool (k, n), which references saw which row.
    """
    saw = seen[:, Sizes.of(seen).carried_by(seen)]
    return min(int(saw.sum()), int((~saw).sum())) >= FEWEST


@dataclass(frozen=True)
class LearntAttack(Attack):
    """An attack on whole answers; forms of it say what they learn from.

    Args:
        draws: number of draws of references that a row's score is the mean over, at least 1.
        rows: most rows to learn from, counting each as often as it stands in, at least 1,000.

    Raises:
        ConfigError: when an option is out of range.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"references"})

    draws: int = 3
    rows: int = 60_000

    def __post_init__(self) -> None:
        require_at_least(self, draws=1, rows=1000)

    def score(self, fitted: Learnt, evidence: Evidence) -> Tensor:
        """Return the mean log-odds of "member" over the draws, float64 (n,).

        Args:
            fitted: what was learned.
            evidence: the target's outputs and references on n rows.

        Raises:
            MissingEvidenceError: when the references' logits are not known.
        """
        read = _Read.of(cast(References, evidence.references), attack=self.name)
        found = of_target(read, evidence, fitted.sizes, seed=fitted.seed, draws=self.draws)
        scores = torch.stack([fitted.regression(of_draw) for of_draw in found]).mean(dim=0)
        return torch.where(read.references.seen.all(dim=0), fitted.silent, scores)

    def _learnt(self, found: Tensor, member: Tensor, sizes: Sizes, *, seed: int) -> Learnt:
        """Fit the regression to rows of numbers in random order."""
        fewest = min(int(member.sum()), int((~member).sum()))
        if fewest < FEWEST:
            raise UndecidableError(
                f"{self.name}: {int(member.sum())} members and {int((~member).sum())} non-members "
                f"to learn from; expected at least {FEWEST} of either, each with {sizes.outside} "
                "references that did not see it. Train more references, each on a random half of "
                "all rows, or give more rows."
            )
        regression = Quadratic.fitted(found, member)
        return Learnt(regression, sizes, float(regression(found).median()), seed)


@dataclass(frozen=True)
class LearntReferencesAttack(LearntAttack):
    """Learns on the references: each in turn is the target, the others are its references.

    Every row is compared with the same number w of references that did not see it, drawn by lot
    (w is one less than the 25 % quantile of how many a row has), and where rows have enough of them
    with a fixed number of those that saw it. The score is a quadratic logistic regression on the
    numbers of `whole_answers`, averaged over some draws. A row that every reference saw gets the
    median score.

    Shadow models as labeled examples are of Shokri et al., S&P 2017; here they are each other's
    references as well, row by row.
    """

    name: ClassVar[str] = _NAME
    knowledge: ClassVar[str] = "shadow"

    def survey(self, references: References) -> Learnt:
        """Return what the references tell about members and non-members.

        Args:
            references: answers of k models on all rows, at least 3 models.

        Raises:
            MissingEvidenceError: when the references' logits are not known.
            UndecidableError: when too few rows have been seen by some references and not by others.
        """
        read = _Read.of(references, attack=self.name)
        sizes, count = Sizes.of(references.seen), read.logits.count
        carried = sizes.carried_by(references.seen).nonzero().squeeze(1)
        order = shuffled(read.keys[carried.numpy()])
        # Whole rows are left out, not stand-ins, which bounds the memory and the time.
        some = read.take(carried[order[: max(1, self.rows // count)]])
        found, seen = of_stand_ins(some, sizes), some.references.seen.T
        mixed = shuffled(some.keys[:, None] ^ salts(_SEED, _NAME, "order", count=count))
        return self._learnt(found.flatten(0, 1)[mixed], seen.flatten()[mixed], sizes, seed=_SEED)


ATTACKS.add(
    _NAME,
    LearntReferencesAttack,
    summary="learns on the references what a member's whole answer looks like beside theirs",
    reference="after Shokri et al., S&P 2017, and Carlini et al., S&P 2022",
    cost=_COST,
)


@dataclass(frozen=True)
class LearntKnownRowsAttack(LearntAttack):
    """Learns the same on rows of known membership, where nobody knows what the references saw.

    It reads the numbers of `LearntReferencesAttack`. It is what an auditor finds who knows half of
    the members, and is judged on the other half of the rows.
    """

    name: ClassVar[str] = "learnt-known-rows"
    learns: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    def fit(self, known: Pool[Evidence], *, seed: int) -> Learnt:
        """Return what the fit half tells about members and non-members.

        Args:
            known: evidence about the fit half's members and non-members.
            seed: seed of the draws.

        Raises:
            MissingEvidenceError: when the references' logits are not known.
            UndecidableError: when there are too few rows.
        """
        both = [
            (e, _Read.of(cast(References, e.references), attack=self.name))
            for e in (known.members, known.nonmembers)
        ]
        sizes = Sizes.of(torch.cat([read.references.seen for _, read in both], dim=1))
        found, member, keys = [], [], []
        for belongs, (evidence, read) in zip((True, False), both, strict=True):
            some = (~read.references.seen.all(dim=0)).nonzero().squeeze(1)
            of_row = of_target(read.take(some), evidence.take(some), sizes, seed=seed, draws=1)[0]
            found.append(of_row)
            member.append(torch.full((len(of_row),), belongs))
            keys.append(read.keys[some.numpy()])
        mixed = shuffled(np.concatenate(keys))[: self.rows]
        return self._learnt(torch.cat(found)[mixed], torch.cat(member)[mixed], sizes, seed=seed)


ATTACKS.add(
    LearntKnownRowsAttack.name,
    LearntKnownRowsAttack,
    summary="learns the same on rows of known membership; what references saw need not be known",
    reference="after Nasr et al., S&P 2019",
    cost=_COST,
)
