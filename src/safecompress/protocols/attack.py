"""What an attacker holds, does and says."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from safecompress.errors import DataError, MissingEvidenceError, NonFiniteError, UndecidableError
from safecompress.protocols.rows import Outputs, Pool, Rows
from safecompress.stats.thresholds import best_threshold, class_thresholds


@dataclass(frozen=True)
class Evidence:
    """What an attacker holds about one group of rows; `None` where this audit does not have it.

    Args:
        outputs: the target's outputs.
        parent: the dense parent's outputs on the same rows.
        rows: the rows themselves.
        target: the target model, for white-box attacks.
    """

    outputs: Outputs
    parent: Outputs | None = None
    rows: Rows | None = None
    target: nn.Module | None = None

    def take(self, index: Tensor) -> Evidence:
        """Return the evidence about the rows at `index`."""
        return Evidence(
            self.outputs.take(index),
            None if self.parent is None else self.parent.take(index),
            None if self.rows is None else self.rows.take(index),
            self.target,
        )


@dataclass(frozen=True)
class AttackResult:
    """What an attack said about the rows it scored.

    Args:
        attack: the attack's name.
        scores: float64 per scored row, higher = more member. For a parameter-free attack these
            are all rows of the pool, otherwise the score half.
        ids: int64 per scored row.
        known: scores of the fit half; thresholds are learnt on it.
        judged: scores of the score half; guesses are made about it.
        labels: int64 per row of the pool.
        halves: bool per row of the pool, True = fit half.
        classes: number of classes.
        knowledge: who set the thresholds: `auditor` (an upper bound) or `shadow`.
        seconds: time to fit and score.
    """

    attack: str
    scores: Pool[Tensor]
    ids: Pool[Tensor]
    known: Pool[Tensor]
    judged: Pool[Tensor]
    labels: Pool[Tensor]
    halves: Pool[Tensor]
    classes: int
    knowledge: str
    seconds: float

    @cached_property
    def threshold(self) -> float:
        """The score from which on a row is called a member, learnt on the fit half."""
        return best_threshold(self.known.members, self.known.nonmembers)

    @cached_property
    def guesses(self) -> Pool[Tensor]:
        """Bool per row of the score half, "member", by one threshold for all."""
        return self.judged.map(lambda s: s >= self.threshold)

    @cached_property
    def class_guesses(self) -> Pool[Tensor]:
        """The same by one threshold per class."""
        known = self.labels.zip(self.halves, lambda y, mask: y[mask])
        judged = self.labels.zip(self.halves, lambda y, mask: y[~mask])
        thresholds = class_thresholds(
            self.known.members,
            self.known.nonmembers,
            known.members,
            known.nonmembers,
            classes=self.classes,
            default=self.threshold,
        )
        per_class = torch.as_tensor(thresholds)
        return self.judged.zip(judged, lambda s, y: s >= per_class[y])


class Attack(ABC):
    """A simulated membership attacker. Authors write `score`, and `fit` where it learns.

    Hyper-parameters go to the constructor of a frozen dataclass, the problem to the call; `repr`
    is the cache key. The object holds no state: `fit` returns what `score` is given back.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    """Evidence fields needed besides `outputs`: any of `parent`, `rows`, `target`."""
    learns: ClassVar[bool] = False
    """Whether it has a `fit` to learn with; then only the score half is scored."""
    knowledge: ClassVar[str] = "auditor"

    def fit(self, known: Pool[Evidence], *, seed: int) -> Any:
        """Learn from rows whose membership is known; return what `score` needs (or None)."""
        del known, seed

    @abstractmethod
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return one float64 score per row of `evidence`, higher = more member."""

    @final
    def __call__(self, pool: Pool[Evidence], *, halves: Pool[Tensor], seed: int) -> AttackResult:
        """Fit on one half of the pool and score; thresholds are learnt on the fit half, too.

        Args:
            pool: evidence about members and non-members.
            halves: bool masks (n_members,) and (n_nonmembers,), True = fit half.
            seed: seed of everything random.

        Raises:
            MissingEvidenceError: when a required field is not there.
            UndecidableError: when a half is empty.
            NonFiniteError: when a score is NaN.
        """
        started = time.perf_counter()
        for field_name in sorted(self.requires):
            if getattr(pool.members, field_name) is None:
                raise MissingEvidenceError(
                    f"{self.name}: needs '{field_name}', which this audit does not have."
                )
        sizes = halves.map(lambda mask: (int(mask.sum()), int((~mask).sum())))
        if min(*sizes.members, *sizes.nonmembers) == 0:
            raise UndecidableError(
                f"{self.name}: one half of the members or non-members is empty; "
                "give each pool at least 2 rows."
            )
        if self.learns:
            fit_half = pool.zip(halves, lambda e, mask: e.take(mask))
            score_half = pool.zip(halves, lambda e, mask: e.take(~mask))
            fitted = self.fit(fit_half, seed=seed)
            known = fit_half.map(lambda e: self._checked_score(fitted, e))
            scores = judged = score_half.map(lambda e: self._checked_score(fitted, e))
            ids = score_half.map(lambda e: e.outputs.ids)
        else:
            scores = pool.map(lambda e: self._checked_score(None, e))
            known = scores.zip(halves, lambda s, mask: s[mask])
            judged = scores.zip(halves, lambda s, mask: s[~mask])
            ids = pool.map(lambda e: e.outputs.ids)
        return AttackResult(
            attack=self.name,
            scores=scores,
            ids=ids,
            known=known,
            judged=judged,
            labels=pool.map(lambda e: e.outputs.labels),
            halves=halves,
            classes=pool.members.outputs.classes,
            knowledge=self.knowledge,
            seconds=time.perf_counter() - started,
        )

    def _checked_score(self, fitted: Any, evidence: Evidence) -> Tensor:
        scores = self.score(fitted, evidence).double()
        if scores.shape != evidence.outputs.labels.shape:
            raise DataError(
                f"{self.name}: score() returned shape {tuple(scores.shape)}; expected "
                f"({len(evidence.outputs)},), one score per row."
            )
        if bool(torch.isnan(scores).any()):
            raise NonFiniteError(f"{self.name}: {int(torch.isnan(scores).sum())} scores are NaN.")
        return scores
