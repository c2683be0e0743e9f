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
from safecompress.protocols.internals import Internals
from safecompress.protocols.odds import log_odds
from safecompress.protocols.rows import Outputs, Pool, Rows
from safecompress.protocols.span import InputRange
from safecompress.stats.thresholds import best_threshold, class_thresholds

_BLOCK = 1 << 17
"""Logits turned into float64 at once: 1 MB."""


@dataclass(frozen=True)
class References:
    """What reference models (shadow models) said of some rows, and which of them saw which row.

    Args:
        log_odds: float64 (k, n), log p_y − log(1 − p_y) of each row's label y by each of k
            references; finite.
        seen: bool (k, n), whether the row was in that reference's training set.

    Raises:
        DataError: on other shapes or dtypes, or without a single reference.
        NonFiniteError: on NaN or infinite log-odds.

    Reference: the logit-scaled confidence of Carlini et al., S&P 2022, section V.
    """

    log_odds: Tensor
    seen: Tensor

    def __post_init__(self) -> None:
        given = tuple(self.log_odds.shape)
        if self.log_odds.ndim != 2 or given[0] == 0 or self.seen.shape != self.log_odds.shape:
            raise DataError(
                f"references: log_odds {given}, seen {tuple(self.seen.shape)}; expected (k, n) "
                "for both, with at least one reference."
            )
        if self.log_odds.dtype != torch.float64 or self.seen.dtype != torch.bool:
            raise DataError(
                f"references: log_odds {self.log_odds.dtype}, seen {self.seen.dtype}; "
                "expected torch.float64 and torch.bool."
            )
        if not bool(torch.isfinite(self.log_odds).all()):
            bad = int((~torch.isfinite(self.log_odds)).any(dim=0).sum())
            raise NonFiniteError(f"references: {bad} of {given[1]} rows are NaN or infinite.")

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, seen: Tensor) -> References:
        """Read the log-odds of the labels off the references' logits, in float64.

        Args:
            logits: float (k, n, classes), at least 2 classes; 16-bit logits tie and hide leakage.
            labels: int64 (n,), in [0, classes).
            seen: bool (k, n), whether the row was in that reference's training set.

        Raises:
            DataError: on other shapes or dtypes, or labels outside the classes.
            NonFiniteError: on NaN or infinite logits.
        """
        if logits.ndim != 3 or labels.shape != logits.shape[1:2] or not logits.is_floating_point():
            raise DataError(
                f"references: logits {logits.dtype} {tuple(logits.shape)}, labels "
                f"{tuple(labels.shape)}; expected float (k, n, classes) and (n,)."
            )
        count, _, classes = logits.shape
        if classes < 2:
            raise DataError(f"references: {classes} classes; log-odds need at least 2.")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise DataError(
                f"references: labels run from {int(labels.min())} to {int(labels.max())} but "
                f"the references have {classes} classes."
            )
        if not bool(torch.isfinite(logits.sum()) or torch.isfinite(logits).all()):
            bad = int((~torch.isfinite(logits)).any(dim=2).any(dim=0).sum())
            raise NonFiniteError(f"references: {bad} of {len(labels)} rows are NaN or infinite.")
        rows = max(1, _BLOCK // classes)
        blocks = zip(
            torch.split(logits.flatten(0, 1), rows),
            torch.split(labels.repeat(count), rows),
            strict=True,
        )
        odds = torch.cat([log_odds(z.double(), y) for z, y in blocks])
        return cls(odds.reshape(count, len(labels)), seen)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.log_odds.shape[1]

    def take(self, index: Tensor) -> References:
        """Return what was said of the rows at `index` (int64 positions or a bool mask)."""
        return References(self.log_odds[:, index], self.seen[:, index])

    def together(self, other: References) -> References:
        """Return the rows of both; the references must be the same models in the same order.

        Raises:
            DataError: when they are not equally many.
        """
        if len(self.seen) != len(other.seen):
            raise DataError(
                f"references: {len(self.seen)} of one group of rows, {len(other.seen)} of the "
                "other; expected the same reference models for both."
            )
        return References(
            torch.cat([self.log_odds, other.log_odds], dim=1),
            torch.cat([self.seen, other.seen], dim=1),
        )


@dataclass(frozen=True)
class Evidence:
    """What an attacker holds about one group of rows; `None` where this audit does not have it.

    Args:
        outputs: the target's outputs.
        parent: the dense parent's outputs on the same rows.
        rows: the rows themselves.
        references: what reference models said of the same rows.
        internals: what the target computes inside for the same rows, for white-box attacks.
        family: outputs of several compressed versions of the same model on the same rows.
        target: the model itself, to be asked about other rows.
        parent_target: the dense parent itself, as somebody attacks it who holds the target.
        span: the range of the model's inputs.

    Raises:
        DataError: when `references`, `internals` or `family` are of another number of rows, or
            `family` is empty.
    """

    outputs: Outputs
    parent: Outputs | None = None
    rows: Rows | None = None
    references: References | None = None
    internals: Internals | None = None
    family: tuple[Outputs, ...] | None = None
    target: nn.Module | None = None
    parent_target: nn.Module | None = None
    span: InputRange | None = None

    def __post_init__(self) -> None:
        for name in ("references", "internals"):
            held = getattr(self, name)
            if held is not None and len(held) != len(self.outputs):
                raise DataError(
                    f"evidence: outputs of {len(self.outputs)} rows, {name} of {len(held)}; "
                    "expected the same rows in the same order."
                )
        if self.family is not None and {len(o) for o in self.family} != {len(self.outputs)}:
            raise DataError(
                f"evidence: outputs of {len(self.outputs)} rows, a family of "
                f"{[len(o) for o in self.family]}; expected at least one model, and of each the "
                "same rows in the same order."
            )

    def take(self, index: Tensor) -> Evidence:
        """Return the evidence about the rows at `index`."""
        return Evidence(
            self.outputs.take(index),
            None if self.parent is None else self.parent.take(index),
            None if self.rows is None else self.rows.take(index),
            None if self.references is None else self.references.take(index),
            None if self.internals is None else self.internals.take(index),
            None if self.family is None else tuple(o.take(index) for o in self.family),
            self.target,
            self.parent_target,
            self.span,
        )


@dataclass(frozen=True)
class AttackResult:
    """What an attack said about the rows it scored.

    Args:
        attack: the attack's name.
        scores: float64 per scored row, higher = more member. For a parameter-free attack these
            are all rows of the pool, otherwise the score half.
        ids: int64 per scored row.
        known: scores of the fit half; thresholds are learned on it.
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
        """The score from which on a row is called a member, learned on the fit half."""
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

    Hyper-parameters go to the constructor of a frozen dataclass, the problem to the call. The
    object holds no state: `fit` returns what `score` is given back. A result is kept for the very
    same attack, its class and the values of its options (see `identity`); `name` is what
    people read.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    """Evidence fields needed besides `outputs`: any of the others."""
    learns: ClassVar[bool] = False
    """Whether it has a `fit` to learn with; then only the score half is scored."""
    knowledge: ClassVar[str] = "auditor"
    label_only: ClassVar[bool] = False
    """Whether it is told predicted classes alone; of each row's own, it finds only correctness."""

    @property
    def white_box(self) -> bool:
        """Whether it reads what happens inside the model."""
        return "internals" in self.requires

    def fit(self, known: Pool[Evidence], *, seed: int) -> Any:
        """Learn from rows whose membership is known; return what `score` needs (or None)."""
        del known, seed

    def read(self, outputs: Pool[Outputs]) -> None:
        """Compute what `score` asks `Outputs.per_row` for, for both groups in one pass.

        What it finds may not depend on the groups; by default nothing is computed beforehand.
        """
        del outputs

    def survey(self, references: References) -> Any:
        """Return what `score` needs to know of all rows' references together (or None).

        Only an attack that requires references and does not learn is asked. All rows are there,
        for what references said of a row does not tell whether the target saw it.

        Args:
            references: of all rows, members or not.
        """
        del references

    @abstractmethod
    def score(self, fitted: Any, evidence: Evidence) -> Tensor:
        """Return one float64 score per row of `evidence`, higher = more member."""

    @final
    def __call__(self, pool: Pool[Evidence], *, halves: Pool[Tensor], seed: int) -> AttackResult:
        """Fit on one half of the pool and score; thresholds are learned on the fit half, too.

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
            if any(getattr(e, field_name, None) is None for e in (pool.members, pool.nonmembers)):
                raise MissingEvidenceError(
                    f"{self.name}: needs '{field_name}', which this audit does not have."
                )
        # Where they lie: taking rows by position is faster than by a mask.
        fit = halves.map(lambda mask: mask.nonzero().squeeze(1))
        rest = halves.map(lambda mask: (~mask).nonzero().squeeze(1))
        if 0 in {len(fit.members), len(rest.members), len(fit.nonmembers), len(rest.nonmembers)}:
            raise UndecidableError(
                f"{self.name}: one half of the members or non-members is empty; "
                "give each pool at least 2 rows."
            )
        self.read(pool.map(lambda e: e.outputs))
        if self.learns:
            fit_half = pool.zip(fit, lambda e, index: e.take(index))
            score_half = pool.zip(rest, lambda e, index: e.take(index))
            fitted = self.fit(fit_half, seed=seed)
            known = fit_half.map(lambda e: self._checked_score(fitted, e))
            scores = judged = score_half.map(lambda e: self._checked_score(fitted, e))
            ids = score_half.map(lambda e: e.outputs.ids)
        else:
            surveyed = self._surveyed(pool)
            scores = pool.map(lambda e: self._checked_score(surveyed, e))
            known = scores.zip(fit, lambda s, index: s.index_select(0, index))
            judged = scores.zip(rest, lambda s, index: s.index_select(0, index))
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

    def _surveyed(self, pool: Pool[Evidence]) -> Any:
        members, nonmembers = pool.members.references, pool.nonmembers.references
        if "references" not in self.requires or members is None or nonmembers is None:
            return None
        return self.survey(members.together(nonmembers))

    def _checked_score(self, fitted: Any, evidence: Evidence) -> Tensor:
        scores = self.score(fitted, evidence).double()
        if scores.shape != evidence.outputs.labels.shape:
            raise DataError(
                f"{self.name}: score() returned shape {tuple(scores.shape)}; expected "
                f"({len(evidence.outputs)},), one score per row."
            )
        # The smallest of all is NaN where any is.
        if len(scores) and bool(torch.isnan(scores.min())):
            raise NonFiniteError(f"{self.name}: {int(torch.isnan(scores).sum())} scores are NaN.")
        return scores
