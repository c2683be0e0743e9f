"""What an attacker holds, does and says."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
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
        guesses: bool per row of the score half, "member", by one threshold learnt on the fit half.
        class_guesses: the same by one threshold per class.
        threshold: the global threshold learnt on the fit half.
        knowledge: who set the thresholds: `auditor` (an upper bound) or `shadow`.
        seconds: time to fit and score.
    """

    attack: str
    scores: Pool[Tensor]
    ids: Pool[Tensor]
    guesses: Pool[Tensor]
    class_guesses: Pool[Tensor]
    threshold: float
    knowledge: str
    seconds: float


class Attack(ABC):
    """A simulated membership attacker. Authors write `score`, and `fit` where it learns.

    Hyper-parameters go to the constructor of a frozen dataclass, the problem to the call; `repr`
    is the cache key. The object holds no state: `fit` returns what `score` is given back.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    """Evidence fields needed besides `outputs`: any of `parent`, `rows`, `target`."""
    learns: ClassVar[bool] = False
    """Whether scores depend on `fit`; then only the score half is scored."""
    knowledge: ClassVar[str] = "auditor"

    def fit(self, known: Pool[Evidence], *, seed: int) -> Any:
        """Learn from rows whose membership is known; return what `score` needs (or None)."""
        del known, seed

    @abstractmethod
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return one float64 score per row of `evidence`, higher = more member."""

    @final
    def __call__(self, pool: Pool[Evidence], *, halves: Pool[Tensor], seed: int) -> AttackResult:
        """Fit on one half of the pool, score, and learn thresholds on the fit half.

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
        known = pool.zip(halves, lambda e, mask: e.take(mask))
        judged = pool.zip(halves, lambda e, mask: e.take(~mask))
        if min(len(e.outputs) for p in (known, judged) for e in (p.members, p.nonmembers)) == 0:
            raise UndecidableError(
                f"{self.name}: one half of the members or non-members is empty; "
                "give each pool at least 2 rows."
            )
        fitted = self.fit(known, seed=seed)
        if self.learns:
            known_scores = known.map(lambda e: self._checked_score(fitted, e))
            scores = judged_scores = judged.map(lambda e: self._checked_score(fitted, e))
            ids = judged.map(lambda e: e.outputs.ids)
        else:
            scores = pool.map(lambda e: self._checked_score(fitted, e))
            known_scores = scores.zip(halves, lambda s, mask: s[mask])
            judged_scores = scores.zip(halves, lambda s, mask: s[~mask])
            ids = pool.map(lambda e: e.outputs.ids)
        threshold = best_threshold(known_scores.members, known_scores.nonmembers)
        per_class = torch.as_tensor(
            class_thresholds(
                known_scores.members,
                known_scores.nonmembers,
                known.members.outputs.labels,
                known.nonmembers.outputs.labels,
                classes=pool.members.outputs.classes,
                default=threshold,
            )
        )
        return AttackResult(
            attack=self.name,
            scores=scores,
            ids=ids,
            guesses=judged_scores.map(lambda s: s >= threshold),
            class_guesses=judged_scores.zip(judged, lambda s, e: s >= per_class[e.outputs.labels]),
            threshold=threshold,
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
