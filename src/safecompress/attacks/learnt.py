"""`LearntReferencesAttack`, `LearntKnownRowsAttack`: what a member's whole answer looks like.

Other attacks with reference models compare the log-odds of the label. These two read numbers of the
whole answer (`whole_answers`) and learn which of them tell members. The first learns it on the
references themselves: each in turn stands in for the target, the others are its references, and of
it the membership is known. So it never reads the membership of a row in the target's training set,
and all rows can be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from safecompress.attacks.lots import salts, shuffled
from safecompress.attacks.options import require_at_least
from safecompress.attacks.quadratic import Quadratic
from safecompress.attacks.registry import ATTACKS
from safecompress.attacks.stand_ins import FEWEST, SEED, Read, Sizes, of_stand_ins, of_target
from safecompress.errors import UndecidableError
from safecompress.protocols import Attack, Evidence, Pool, References

_COST = "about 1 s for 16 references × 10,000 rows × 100 classes on one core, once they are trained"


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


@dataclass(frozen=True)
class LearntAttack(Attack):
    """An attack on whole answers; authors write what it learns from, and `score` by `_scored`.

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

    def _scored(self, fitted: Learnt, evidence: Evidence) -> Tensor:
        """Return the mean log-odds of "member" over the draws, float64 (n,)."""
        read = Read.of(cast(References, evidence.references), attack=self.name)
        found = of_target(read, evidence.outputs, fitted.sizes, seed=fitted.seed, draws=self.draws)
        scores = torch.stack([fitted.regression(of_draw) for of_draw in found]).mean(dim=0)
        return torch.where(read.references.seen.all(dim=0), fitted.silent, scores)

    def _require(self, members: int, others: int, sizes: Sizes) -> None:
        """Raise an error where there are too few examples of either kind to learn from."""
        if min(members, others) < FEWEST:
            raise UndecidableError(
                f"{self.name}: {members} examples of members and {others} of non-members to learn "
                f"from; expected at least {FEWEST} of either, each on a row with more than "
                f"{sizes.outside} references that did not see it. Train more references, each on "
                "a random half of all rows, or give more rows."
            )

    def _learnt(
        self,
        found: Tensor,
        member: Tensor,
        weight: Tensor,
        *,
        sizes: Sizes,
        seed: int,
        products: Tensor | None = None,
    ) -> Learnt:
        """Fit the regression to weighted rows of numbers in random order."""
        regression = Quadratic.fitted(found, member, weight, products=products)
        return Learnt(regression, sizes, float(regression(found).median()), seed)

    def _learnt_on_stand_ins(self, files: Sequence[Read], products: Tensor | None = None) -> Learnt:
        """Fit to every reference as if it were the target, side by side in one file or several."""
        read = files[0]
        seen, count = read.references.seen, read.logits.count
        sizes = Sizes.of(seen)
        carried = sizes.carried_by(seen).nonzero().squeeze(1)
        order = shuffled(read.keys[carried.numpy()])
        # Whole rows are left out, not stand-ins, which bounds the memory and the time.
        kept = carried[order[: max(1, self.rows // count)]]
        some = [file.take(kept) for file in files]
        seen = some[0].references.seen.T
        self._require(int(seen.sum()), int((~seen).sum()), sizes)
        found = side_by_side([of_stand_ins(file, sizes) for file in some])
        # Of each row, both kinds weigh the same. Otherwise a row that more references saw would
        # have more examples of "member", and the fit would say so of a target that saw it less.
        share = seen.double().mean(dim=1, keepdim=True)
        weight = 1.0 / torch.where(seen, share, 1.0 - share)
        mixed = shuffled(some[0].keys[:, None] ^ salts(SEED, self.name, "order", count=count))
        return self._learnt(
            found.flatten(0, 1)[mixed],
            seen.flatten()[mixed],
            weight.flatten()[mixed],
            sizes=sizes,
            seed=SEED,
            products=products,
        )


def side_by_side(files: Sequence[Tensor]) -> Tensor:
    """Return the numbers of every file and, of several, their means over the files.

    Args:
        files: float64 (…, numbers) of each file.
    """
    if len(files) == 1:
        return files[0]
    return torch.cat([*files, torch.stack(tuple(files)).mean(dim=0)], dim=-1)


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

    name: ClassVar[str] = "learnt-references"
    signals: ClassVar[str] = "comparison"
    knowledge: ClassVar[str] = "shadow"

    def survey(self, references: References) -> Learnt:
        """Return what the references tell about members and non-members.

        Args:
            references: answers of k models on all rows, at least 3 models.

        Raises:
            MissingEvidenceError: when the references' logits are not known.
            UndecidableError: when too few rows have been seen by some references and not by others.
        """
        return self._learnt_on_stand_ins([Read.of(references, attack=self.name)])

    def score(self, fitted: Learnt, evidence: Evidence) -> Tensor:
        """Return the mean log-odds of "member" over the draws, float64 (n,).

        Args:
            fitted: what was learned.
            evidence: the target's outputs and references on n rows.

        Raises:
            MissingEvidenceError: when the references' logits are not known.
        """
        return self._scored(fitted, evidence)


ATTACKS.add(
    "learnt-references",
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
    signals: ClassVar[str] = "comparison"
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
            (e, Read.of(cast(References, e.references), attack=self.name))
            for e in (known.members, known.nonmembers)
        ]
        sizes = Sizes.of(torch.cat([read.references.seen for _, read in both], dim=1))
        able = [(~read.references.seen.all(dim=0)).nonzero().squeeze(1) for _, read in both]
        self._require(len(able[0]), len(able[1]), sizes)
        found, member, keys = [], [], []
        for belongs, (evidence, read), some in zip((True, False), both, able, strict=True):
            outputs = evidence.outputs.take(some)
            found.append(of_target(read.take(some), outputs, sizes, seed=seed, draws=1)[0])
            member.append(torch.full((len(some),), belongs))
            keys.append(read.keys[some.numpy()])
        mixed = shuffled(np.concatenate(keys))[: self.rows]
        weight = torch.ones(len(mixed), dtype=torch.float64)
        rows, labels = torch.cat(found)[mixed], torch.cat(member)[mixed]
        return self._learnt(rows, labels, weight, sizes=sizes, seed=seed)

    def score(self, fitted: Learnt, evidence: Evidence) -> Tensor:
        """Return the mean log-odds of "member" over the draws, float64 (n,).

        Args:
            fitted: what was learned.
            evidence: the target's outputs and references on n rows.

        Raises:
            MissingEvidenceError: when the references' logits are not known.
        """
        return self._scored(fitted, evidence)


ATTACKS.add(
    "learnt-known-rows",
    LearntKnownRowsAttack,
    summary="learns the same on rows of known membership; what references saw need not be known",
    reference="after Nasr et al., S&P 2019",
    cost=_COST,
)
